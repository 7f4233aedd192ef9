"""One image and its caption, as a config's training pipeline would hand them to the model."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from mmcv.transforms import Compose

from code_mm.nouns import NounSelector

_NEEDED = ('SelectNouns', 'TokenizeCaption', 'PackCaptionInputs')


def load_caption_pair(
    pipeline: Sequence[dict],
    image: str,
    caption: str,
    nouns: Sequence[str] | None = None,
    max_nouns: int = 6,
    size: int | None = None,
    multiple: int = 1,
) -> dict:
    """Load a pair without the pipeline's random parts: no crop, no flip, no draw of nouns.

    Args:
        pipeline (Sequence[dict]): Training pipeline with ``SelectNouns``, ``TokenizeCaption`` and
            ``PackCaptionInputs``; ``LoadCaptionImage`` is used as it stands.
        image (str): Path of the image.
        caption (str): Its caption.
        nouns (Sequence[str], optional): Nouns to look for. Default: those that the noun selector
            of the pipeline finds, in the caption's order.
        max_nouns (int): At most so many of the found ones.
        size (int, optional): Shorter side for the network, in pixels. Default: the ``size`` of
            ``RandomResizedCrop`` in the pipeline, or the image's own.
        multiple (int): Both sides are rounded to a multiple of this (the patch size).

    Returns:
        dict: ``inputs`` (3, H, W) uint8 and ``data_samples``, for ``CoDeSegmentor.decompose``.

    Raises:
        ValueError: If the pipeline has no caption transforms, or there is no noun.
    """
    steps = _steps_by_name(pipeline)
    found = _found_nouns(steps.get('LoadNouns', {}), caption) if nouns is None else list(nouns)
    chosen = found[:max_nouns] if nouns is None else found
    if not chosen:
        raise ValueError(f'expected nouns in the caption, but none were found in {caption!r}')
    results = dict(
        img_path=image, sample_key=image, caption=caption, nouns=found, selected_nouns=chosen
    )
    results = Compose([steps.get('LoadCaptionImage', dict(type='LoadCaptionImage'))])(results)
    size = size or steps.get('RandomResizedCrop', {}).get('size')
    size = size if size is None or isinstance(size, int) else min(size)
    scale = _network_size(results['img_shape'], size, multiple)
    rest = [
        dict(type='Resize', scale=scale[::-1], keep_ratio=False),
        steps['TokenizeCaption'],
        steps['PackCaptionInputs'],
    ]
    return Compose(rest)(results)


def _steps_by_name(pipeline: Sequence[dict]) -> dict[str, dict]:
    steps = {step['type'].rpartition('.')[-1]: dict(step) for step in copy.deepcopy(pipeline)}
    missing = [name for name in _NEEDED if name not in steps]
    if missing:
        raise ValueError(
            f'expected a pipeline of image-caption pairs, but it lacks {missing}; use the config '
            'that the model was trained with'
        )
    return steps


def _found_nouns(step: dict, caption: str) -> list[str]:
    keys = {key: step[key] for key in ('tagger', 'word_type') if key in step}
    return NounSelector(**keys)(caption)


def _network_size(shape: tuple[int, int], size: int | None, multiple: int) -> tuple[int, int]:
    scale = size / min(shape) if size else 1.0
    height, width = (max(1, round(side * scale / multiple)) * multiple for side in shape)
    return height, width
