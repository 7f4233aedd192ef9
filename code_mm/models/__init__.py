"""The parts of CoDe: encoders, prompts, segmenters, losses, heads and segmentors."""

from . import (  # noqa: F401
    co_segmentation,
    decode_heads,
    dense_attention,
    encoders,
    losses,
    post_processing,
    prompts,
    segmentors,
)
