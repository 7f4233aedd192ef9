"""Image-caption pairs from a list: json, jsonl, csv or tsv."""

import os
from collections.abc import Iterator, Sequence

from code_mm.datasets.sample_ledger import Skip
from code_mm.registry import DATASETS
from code_mm.structures.unusable_sample import UnusableSample

from .caption_dataset import CaptionDataset
from .caption_rows import read_rows, split_nouns
from .sample import Sample, decode_sample


def read_list(
    path: str,
    folder: str,
    image_key: str,
    caption_key: str,
    nouns_key: str | None,
    columns: Sequence[str] | None,
    skips: list[Skip],
) -> Iterator[dict]:
    """Yield the samples of a list as the pipeline gets them; see :class:`CaptionListDataset`.

    Args:
        path (str): The list.
        folder (str): Before relative image paths.
        image_key (str): Column of the image's path.
        caption_key (str): Column of the caption.
        nouns_key (str, optional): Column of the nouns.
        columns (Sequence[str], optional): Of a file without a header line.
        skips (list[Skip]): Rows that are left out are appended here.
    """
    for line, row in read_rows(path, (image_key, caption_key), columns, skips):
        key, image = f'{os.path.basename(path)}:{line}', row.get(image_key)
        try:
            if not isinstance(image, str) or not image.strip():
                raise UnusableSample('missing_image', f'column {image_key!r} holds {image!r}')
            if isinstance(row.get(nouns_key), str):
                row[nouns_key] = split_nouns(row[nouns_key])
            sample = Sample(key, path, os.path.join(folder, image.strip()), fields=row)
            yield decode_sample(sample, caption_key, nouns_key)
        except UnusableSample as problem:
            skips.append(Skip(problem.reason, key, problem.detail))


@DATASETS.register_module()
class CaptionListDataset(CaptionDataset):
    """Pairs of an image file and a caption, named by the rows of a list.

    Rows without image or caption, and rows that cannot be read, are left out, counted
    and named by file and line in one log line; images are looked at when they are read.

    Args:
        ann_file (str): ``.json`` (a list of objects), ``.jsonl`` (one object per line), ``.csv``
            (with quotes as usual) or ``.tsv`` (taken literally), relative to ``data_root``.
        image_key (str): Column of the image's path, relative to ``data_prefix['img_path']``.
        caption_key (str): Column of the caption.
        nouns_key (str, optional): Column, which may be absent, of the caption's nouns: a list, or
            in csv and tsv a json list or words separated by ``;``. None: do not look.
        columns (Sequence[str], optional): Names of the columns of a csv or tsv file without a
            header line.
        data_root (str): Folder before a relative ``ann_file`` and relative prefixes.
        data_prefix (dict, optional): ``dict(img_path=folder)`` before relative image paths.
        **kwargs: Of :class:`CaptionDataset` (``pipeline``, ``indices``, ``lazy_init``, …).

    Raises:
        FileNotFoundError: ``ann_file`` is missing.
        ValueError: Unknown kind of file, missing column, or no usable row.
    """

    def __init__(
        self,
        ann_file: str,
        *,
        image_key: str = 'image',
        caption_key: str = 'caption',
        nouns_key: str | None = 'nouns',
        columns: Sequence[str] | None = None,
        data_root: str = '',
        data_prefix: dict | None = None,
        **kwargs,
    ) -> None:
        self.ann_file = ann_file  # for self.name, before the base class joins the root
        self._columns = (image_key, caption_key, nouns_key, columns)
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            data_prefix=data_prefix or dict(img_path=''),
            **kwargs,
        )

    @property
    def name(self) -> str:
        return f'{type(self).__name__}({self.ann_file!r})'

    def load_data_list(self) -> list[dict]:
        """Read the list; rows that are left out go to ``index_skips``."""
        self.index_skips = []
        folder = self.data_prefix.get('img_path', '')
        samples = list(read_list(self.ann_file, folder, *self._columns, self.index_skips))
        if not samples:
            found = ', '.join(map(str, self.index_skips[:5]))
            raise ValueError(
                f'{self.name}: expected rows with image and caption, but got none ({found})'
            )
        return samples

    def read_sample(self, info: dict) -> dict:
        """Nothing to add: the image is read by the pipeline, from ``img_path``."""
        return info
