"""Captions for the images of any data set, as a transform."""

import os
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose

from code_mm.datasets.captions.caption_list import read_list
from code_mm.datasets.sample_ledger import SampleLedger
from code_mm.registry import TRANSFORMS
from code_mm.structures.unusable_sample import UnusableSample

# Images in a row without a caption after which the paths are taken to be wrong.
_PATIENCE = 500


@TRANSFORMS.register_module()
class AddCaption(BaseTransform):
    """Give an image its caption from a list, so that a data set has masks *and* captions.

    Images that are not in the list, and those whose caption cannot be used (too few nouns), pass
    without one: they keep their labels, and the latter are counted and logged. Of several captions
    of an image one is drawn at each visit.

    Required Keys:

    - img_path (str)

    Added Keys:

    - caption, sample_key, shard (str), and what ``transforms`` add
    - nouns (list[str]), where the list has them

    Args:
        ann_file (str): Json, jsonl, csv or tsv list, see ``CaptionListDataset``.
        data_prefix (str, optional): Folder before relative image paths; default: that of
            ``ann_file``.
        transforms (Sequence[dict]): What needs the caption: ``SelectNouns``, ``TokenizeCaption``.
        image_key, caption_key, nouns_key (str): Columns of the list.
        columns (Sequence[str], optional): Of a csv or tsv file without a header line.
        max_warnings (int): Warnings about single captions, per process.

    Raises:
        FileNotFoundError: ``ann_file`` is missing.
        ValueError: It has no row with image and caption, or none of the first 500 images is in it.
    """

    def __init__(
        self,
        ann_file: str,
        data_prefix: str | None = None,
        transforms: Sequence[dict] = (),
        image_key: str = 'image',
        caption_key: str = 'caption',
        nouns_key: str | None = 'nouns',
        columns: Sequence[str] | None = None,
        max_warnings: int = 20,
    ) -> None:
        self.ann_file = ann_file
        folder = os.path.dirname(ann_file) if data_prefix is None else data_prefix
        self.transforms = Compose(list(transforms))
        self._num_without = 0  # images in a row without a caption
        self._captions: dict[str, list[dict]] = {}
        skips = []
        columns = (image_key, caption_key, nouns_key, columns)
        for fields in read_list(ann_file, folder, *columns, skips):
            self._captions.setdefault(_spelled(fields.pop('img_path')), []).append(fields)
        if not self._captions:
            raise ValueError(f'expected rows with image and caption in {ann_file}, but got none')
        name = f'{ann_file} (images without a caption keep their labels)'
        self.ledger = SampleLedger(name, skips, max_bad_fraction=1.0, max_warnings=max_warnings)
        self.ledger.log_index_summary(f'captions of {len(self._captions)} images')

    def transform(self, results: dict) -> dict:
        """Add the caption, where there is one that can be used."""
        captions = self._captions.get(_spelled(results['img_path']))
        if captions is None:
            self._check_paths(results['img_path'])
            return results
        self._num_without = -1  # the paths are right
        fields = captions[np.random.randint(len(captions))]
        try:
            captioned = self.transforms({**results, **fields})
        except UnusableSample as problem:
            self.ledger.skip(fields['sample_key'], problem)
            return results
        self.ledger.use()
        return captioned

    def _check_paths(self, path: str) -> None:
        if self._num_without < 0:
            return
        self._num_without += 1
        if self._num_without == _PATIENCE:
            raise ValueError(
                f'expected captions in {self.ann_file} of images such as {path}, but none of '
                f'{_PATIENCE} images is among its paths such as {next(iter(self._captions))}; set '
                'data_prefix, the folder before the paths of the list'
            )

    def __repr__(self) -> str:
        return f'{type(self).__name__}(ann_file={self.ann_file!r}, transforms={self.transforms})'


def _spelled(path: str) -> str:
    """One spelling for a path, whether it is relative or absolute."""
    return os.path.abspath(path.strip())
