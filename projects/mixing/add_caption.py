"""Captions for the images of any data set, as a transform."""

import os
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose

from code_mm.datasets.captions.caption_list import read_list
from code_mm.datasets.captions.sample import draw_caption
from code_mm.datasets.sample_ledger import SampleLedger
from code_mm.registry import TRANSFORMS
from code_mm.structures.unusable_sample import UnusableSample

# Images without a caption, at the beginning, after which the paths are taken to be wrong.
_PATIENCE = 500


@TRANSFORMS.register_module()
class AddCaption(BaseTransform):
    """Give an image its caption from a list, so that a data set has masks *and* captions.

    Images that are not in the list, and those whose caption cannot be used (too few nouns; counted
    and logged), pass without one. Of several captions of an image one is drawn at each visit. A
    list of other images altogether is an error.

    Required Keys:

    - img_path (str)

    Added Keys:

    - caption, sample_key, shard (str), nouns (where the list has them), what ``transforms`` add

    Args:
        ann_file (str): Json, jsonl, csv or tsv list.
        data_prefix (str, optional): Folder before relative image paths; default: that of
            ``ann_file``.
        transforms (Sequence[dict]): What needs the caption: ``SelectNouns``, ``TokenizeCaption``.
        **keys: ``image_key``, ``caption_key``, ``nouns_key``, ``columns``, as of
            :class:`CaptionListDataset`.
    """

    def __init__(
        self,
        ann_file: str,
        data_prefix: str | None = None,
        transforms: Sequence[dict] = (),
        **keys,
    ) -> None:
        self.ann_file = ann_file
        folder = os.path.dirname(ann_file) if data_prefix is None else data_prefix
        self.transforms = Compose(list(transforms))
        self._num_without: int | None = 0  # images without a caption, before the first with one
        self._captions: dict[str, list[dict]] = {}
        skips = []
        for fields in read_list(ann_file, folder, skips, **keys):
            self._captions.setdefault(_spelled(fields.pop('img_path')), []).append(fields)
        if not self._captions:
            raise ValueError(f'expected rows with image and caption in {ann_file}, but got none')
        name = f'{ann_file} (images without a caption keep their labels)'
        self.ledger = SampleLedger(name, skips, max_bad_fraction=1.0)
        self.ledger.log_index_summary(f'captions of {len(self._captions)} images')

    def transform(self, results: dict) -> dict:
        """Add the caption, where there is one that can be used."""
        captions = self._captions.get(_spelled(results['img_path']))
        if captions is None:
            if self._num_without is not None:
                self._check_paths(results['img_path'])
            return results
        self._num_without = None  # the paths are right
        fields = draw_caption(captions[np.random.randint(len(captions))])
        try:
            captioned = self.transforms({**results, **fields})
        except UnusableSample as problem:
            self.ledger.skip(fields['sample_key'], problem)
            return results
        self.ledger.use()
        return captioned

    def _check_paths(self, path: str) -> None:
        self._num_without += 1
        if self._num_without == _PATIENCE:
            raise ValueError(
                f'expected captions in {self.ann_file} of images such as {path}, but none of '
                f'{_PATIENCE} images is among its paths such as {next(iter(self._captions))}; set '
                'data_prefix, the folder before the paths of the list'
            )


def _spelled(path: str) -> str:
    """One spelling for a path, relative or absolute."""
    return os.path.abspath(path.strip())
