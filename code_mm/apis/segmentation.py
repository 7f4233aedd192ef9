"""What was found in one image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from mmseg.structures import SegDataSample

from code_mm.visualization.lettering import Colour
from code_mm.visualization.overlay import draw_overlay

from .input_images import InputImage


@dataclass
class Segmentation:
    """One segmented image."""

    input: InputImage
    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    sample: SegDataSample
    """mmseg's result, on the CPU."""
    classes: tuple[str, ...]
    """Names in label order; 'background' first where there is one."""
    palette: list[Colour]
    """RGB colours in label order."""
    background_threshold: float | None
    """Score of label 0, the background; None where there is none."""

    @cached_property
    def labels(self) -> np.ndarray:
        """(H, W) int32, indices into :attr:`classes`."""
        return self.sample.pred_sem_seg.data[0].numpy().astype(np.int32)

    @property
    def scores(self) -> np.ndarray:
        """(classes, H, W) float32 in [0, 1]; the background's plane is its threshold."""
        if 'seg_logits' not in self.sample:
            raise ValueError('scores were not kept; ask for them (keep_scores=True)')
        return self.sample.seg_logits.data.float().numpy()

    @cached_property
    def shares(self) -> dict[str, float]:
        """Share of the image's pixels by class name, in label order; they add up to 1."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.classes))
        return dict(zip(self.classes, (counts / self.labels.size).tolist(), strict=True))

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """(H, W) bool by name, of the classes that occur."""
        return {self.classes[label]: self.labels == label for label in np.unique(self.labels)}

    def overlay(self, opacity: float = 0.6, whole_legend: bool = False) -> np.ndarray:
        """The image with its classes in colour and a legend, RGB; see ``draw_overlay``."""
        plain = None if self.background_threshold is None else 0
        return draw_overlay(
            self.image, self.labels, self.classes, self.palette, opacity, plain, whole_legend
        )
