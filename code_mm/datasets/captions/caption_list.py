"""Image-caption pairs from a list: json, jsonl, csv or tsv."""

import os
from collections.abc import Sequence

from code_mm.datasets.sample_ledger import Skip
from code_mm.registry import DATASETS
from code_mm.structures.unusable_sample import UnusableSample

from .caption_dataset import CaptionDataset
from .caption_rows import read_rows, split_nouns


@DATASETS.register_module()
class CaptionListDataset(CaptionDataset):
    """Pairs of an image file and a caption, named by the rows of a list.

    Rows without image or caption, and rows that cannot be read, are left out, counted
    and named by file and line in one log line; images are looked at when they are read.

    Args:
        ann_file: ``.json`` (a list of objects), ``.jsonl`` (one object per line), ``.csv``
            (with quotes as usual) or ``.tsv`` (taken literally), relative to ``data_root``.
        image_key: column of the image's path, relative to ``data_prefix['img_path']``.
        caption_key: column of the caption.
        nouns_key: optional column of the caption's nouns: a list, or in csv and tsv a
            json list or words separated by ``;``. Where a row has it, its nouns are not
            tagged again. None: do not look.
        columns: names of the columns of a csv or tsv file without a header line.
        data_root: folder before a relative ``ann_file`` and relative prefixes.
        data_prefix: ``dict(img_path=folder)`` before relative image paths.
        **kwargs: of :class:`CaptionDataset` (``pipeline``, ``indices``, ``lazy_init``, …).

    Raises:
        FileNotFoundError: ``ann_file`` is missing.
        ValueError: unknown kind of file, missing column, or no usable row.
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
        self.image_key = image_key
        self.caption_key = caption_key
        self.nouns_key = nouns_key
        self.columns = columns
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
        required = (self.image_key, self.caption_key)
        samples = []
        for line, row in read_rows(self.ann_file, required, self.columns, self.index_skips):
            key = f'{os.path.basename(self.ann_file)}:{line}'
            try:
                samples.append(self._sample(key, row))
            except UnusableSample as problem:
                self.index_skips.append(Skip(problem.reason, key, problem.detail))
        if not samples:
            found = ', '.join(map(str, self.index_skips[:5]))
            raise ValueError(
                f'{self.name}: expected rows with image and caption, but got none ({found})'
            )
        return samples

    def _sample(self, key: str, row: dict) -> dict:
        image = row.get(self.image_key)
        if not isinstance(image, str) or not image.strip():
            raise UnusableSample('missing_image', f'column {self.image_key!r} holds {image!r}')
        path = os.path.join(self.data_prefix.get('img_path', ''), image.strip())
        caption = self.checked_caption(row.get(self.caption_key))
        sample = dict(sample_key=key, shard=self.ann_file, img_path=path, caption=caption)
        nouns = row.get(self.nouns_key) if self.nouns_key else None
        if isinstance(nouns, str):
            nouns = split_nouns(nouns)
        if nouns is not None:
            sample['nouns'] = self.checked_nouns(nouns)
        return sample

    def read_sample(self, info: dict) -> dict:
        """Nothing to add: the image is read by the pipeline, from ``img_path``."""
        return info
