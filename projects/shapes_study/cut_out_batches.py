"""Cut-outs: an object with some of what lies around it, on a blank image.

A CLIP that was trained on whole images only may read a highlighted region (thesis Eq. 3.4) by its
outline. One that has also seen cut-outs of every shape must look at what is inside.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from mmengine.dist import get_world_size
from mmseg.structures import SegDataSample
from mmseg.utils import get_predefined_templates
from torch.utils.data import Dataset

from code_mm.datasets.shapes_world import ShapesWorld
from code_mm.registry import DATASETS
from code_mm.tokenizers import CLIPTokenizer

_BLANK = np.array([124, 116, 104], np.uint8)  # the mean colour, which is 0 to the network
_CELL = 2  # pixels; region masks of 64-pixel images have 32 x 32 cells
_TEMPLATES = ('{}', 'a {}.', 'the {}.')


@DATASETS.register_module()
class CutOutBatches(Dataset):
    """Whole batches for ``CLIPPretrainer``: cut-outs and whole images take turns.

    Item ``i`` is a function of (seed, i). A cut-out's only text is the noun of its object, alone
    in a template. Its region is the object's silhouette grown by up to ``max_rim`` cells, or a box
    or ellipse around it; then single cells of it flip, as they do in sampled region masks.

    Args:
        world: Arguments of ``ShapesWorld``.
        whole: Config of the data set of the other batches.
        batch_size: Cut-outs per batch.
        length: Number of items.
        context_length: Text positions.
        max_rim: Largest rim, in cells of 2 pixels.
        max_flip: Largest share of cells that flip, in [0, 1].
        template_share: Share of batches with one of ImageNet's templates.
        seed: Of the batches.

    Raises:
        ValueError: Several processes: batches are not dealt out among them.
    """

    def __init__(
        self,
        world: dict,
        whole: dict,
        batch_size: int,
        length: int,
        context_length: int,
        max_rim: int = 6,
        max_flip: float = 0.1,
        template_share: float = 0.4,
        seed: int = 0,
    ) -> None:
        if get_world_size() > 1:
            raise ValueError(f'expected one process, but got {get_world_size()}; train with one')
        self.world = ShapesWorld(**world)
        self.whole = DATASETS.build(whole)
        self.batch_size, self.length, self.context_length = batch_size, length, context_length
        self.max_rim, self.max_flip = max_rim, max_flip
        self.template_share, self.seed = template_share, seed
        self.metainfo = {}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < self.length:
            raise IndexError(index)
        if index % 2:
            return self.whole[index // 2]
        rng = np.random.default_rng((self.seed, index))
        pairs = [self._cut_out(index * self.batch_size + i, rng) for i in range(self.batch_size)]
        images, nouns = zip(*pairs, strict=True)
        templates = _TEMPLATES
        if rng.random() < self.template_share:
            templates = get_predefined_templates('imagenet')
        template = templates[rng.integers(len(templates))]
        ids = CLIPTokenizer().tokenize(
            [template.format(noun) for noun in nouns], self.context_length
        )
        samples = []
        for noun, row in zip(nouns, ids, strict=True):
            sample = SegDataSample(metainfo={'caption': template.format(noun)})
            sample.positive_ids = row[None]
            samples.append(sample)
        bgr = np.stack(images)[..., ::-1].transpose(0, 3, 1, 2)
        return {'inputs': torch.from_numpy(np.ascontiguousarray(bgr)), 'data_samples': samples}

    def _cut_out(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, str]:
        """Image uint8 RGB [H, W, 3] and noun of one cut-out."""
        sample = self.world.sample('cut_outs', number)
        which = int(rng.integers(len(sample.object_nouns)))
        cells = (sample.instances == which + 1).astype(np.uint8)[::_CELL, ::_CELL]
        region = draw_region(cells, rng, self.max_rim)
        region ^= rng.random(region.shape) < rng.uniform(0, self.max_flip)
        seen = region.repeat(_CELL, 0).repeat(_CELL, 1)[..., None]
        return np.where(seen, sample.image, _BLANK), sample.object_nouns[which]


def draw_region(cells: np.ndarray, rng: np.random.Generator, max_rim: int) -> np.ndarray:
    """Region around an object: its silhouette with a rim, or a box or ellipse around it.

    Args:
        cells: Silhouette, uint8 0/1 [h, w], not empty.
        rng: Source of the draw.
        max_rim: Largest rim in cells.

    Returns:
        Boolean [h, w].
    """
    rim = int(rng.integers(max_rim + 1))
    kind = rng.integers(3)
    if kind == 0:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1, 2 * rim + 1))
        return cv2.dilate(cells, kernel) > 0
    rows, columns = (np.flatnonzero(cells.any(axis)) for axis in (1, 0))
    centre = [(line[0] + line[-1]) / 2 for line in (rows, columns)]
    radius = [(line[-1] - line[0]) / 2 + 0.5 + rim for line in (rows, columns)]
    y, x = (
        np.abs(np.arange(side) - middle) / reach
        for side, middle, reach in zip(cells.shape, centre, radius, strict=True)
    )
    if kind == 1:
        return (y[:, None] <= 1) & (x <= 1)
    return y[:, None] ** 2 + x**2 <= 1
