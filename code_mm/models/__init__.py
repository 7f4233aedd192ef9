"""The parts of CoDe: backbones, prompts, segmenters, losses, heads and segmentors."""

from . import (  # noqa: F401
    backbones,
    co_decomposition,
    heads,
    losses,
    post_processing,
    prompts,
    segmenters,
    segmentors,
)
