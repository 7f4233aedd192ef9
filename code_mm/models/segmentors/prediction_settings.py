"""What may stand in the ``test_cfg`` of a segmentor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches


@dataclass(frozen=True)
class PredictionSettings:
    """The keys of ``test_cfg``, checked.

    Args:
        mode (str): 'whole' image at once, or 'slide' windows whose scores are averaged.
        crop_size (tuple[int, int], optional): Height and width of a window in pixels; needed for
            'slide', not used for 'whole'.
        stride (tuple[int, int], optional): Steps between windows, at most ``crop_size``.
        window_batch_size (int): Windows that go through the network at a time, whichever images
            of the batch they are from. It bounds memory; scores do not depend on it.
        keep_scores (bool): Leave ``seg_logits`` [classes, H, W] in the sample, as mmseg does.
            False keeps the labels alone: memory then does not grow with classes x pixels.
        class_chunk (int): Where scores are dropped: classes that are resized to the original
            image at a time. Labels do not depend on it.
        scores_on_cpu (bool): Sum up the windows' scores in the processor's memory, for images
            whose scores do not fit on the GPU.

    Raises:
        ValueError: A value is out of range, or a needed one is missing.
    """

    mode: str = 'whole'
    crop_size: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    window_batch_size: int = 1
    keep_scores: bool = True
    class_chunk: int = 8
    scores_on_cpu: bool = False

    def __post_init__(self) -> None:
        if self.mode not in ('whole', 'slide'):
            raise ValueError(f"expected test_cfg.mode to be 'whole' or 'slide', got {self.mode!r}")
        for name in ('window_batch_size', 'class_chunk'):
            if not _is_count(value := getattr(self, name)):
                raise ValueError(f'expected test_cfg.{name} to be an integer >= 1, got {value!r}')
        for name in ('keep_scores', 'scores_on_cpu'):
            if not isinstance(value := getattr(self, name), bool):
                raise ValueError(f'expected test_cfg.{name} to be True or False, got {value!r}')
        if self.mode == 'slide':
            self._check_windows()

    @classmethod
    def from_test_cfg(cls, test_cfg: Mapping | None) -> PredictionSettings:
        """Check a segmentor's ``test_cfg``; None means the whole image at once.

        Raises:
            ValueError: A key is unknown, or as for the class.
        """
        known = [field.name for field in fields(cls)]
        for key in test_cfg or {}:
            if key not in known:
                close = get_close_matches(key, known, n=1)
                hint = f'; did you mean {close[0]!r}?' if close else ''
                raise ValueError(f'expected keys of test_cfg among {known}, but got {key!r}{hint}')
        return cls(**(test_cfg or {}))

    def _check_windows(self) -> None:
        for name in ('crop_size', 'stride'):
            value = getattr(self, name)
            pair = isinstance(value, (tuple, list)) and len(value) == 2
            if not pair or not all(map(_is_count, value)):
                raise ValueError(
                    f"expected test_cfg.{name} = (height, width) in pixels for mode='slide', "
                    f'but got {value!r}'
                )
        if any(step > side for step, side in zip(self.stride, self.crop_size, strict=True)):
            raise ValueError(
                f'expected test_cfg.stride <= crop_size, but got {tuple(self.stride)} and '
                f'{tuple(self.crop_size)}: pixels between the windows would never be looked at'
            )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
