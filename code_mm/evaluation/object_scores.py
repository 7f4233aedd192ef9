"""What metrics of data sets with a background have in common."""

from __future__ import annotations

from torch import Tensor


def require_background(classes: list[str] | tuple[str, ...], metric: str) -> None:
    """Raise a ValueError unless the first class is the background, label 0."""
    if classes[0] != 'background':
        raise ValueError(
            f"expected 'background' as the first class for {metric}, but got {classes[:3]}; use "
            'IoUMetric for data sets without background'
        )


def object_scores(sample: dict, num_objects: int, metric: str) -> Tensor:
    """Scores of the object classes [num_objects, H, W], without the background's plane.

    Raises:
        ValueError: The sample has no ``seg_logits``.
    """
    if 'seg_logits' not in sample:
        raise ValueError(
            f'expected data samples with seg_logits for {metric}, but got {sorted(sample)}; set '
            'test_cfg.keep_scores=True'
        )
    return sample['seg_logits']['data'][1 : 1 + num_objects]
