"""Parameter names of this project's earlier checkpoints."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from torch import nn

# Before CoDe was composed of an image segmenter and a co-decomposition (0.1).
_RENAMES = (
    (r'image_segmenter\.(block\.|ln_post\.|proj$)', r'image_segmenter.tail.\1'),
    (r'alignment\.backbone\.', 'vision_language_backbone.'),
    (r'(alignment\.)?decode_head\.similarity_to_mask\.', 'co_decomposition.similarity_to_mask.'),
    (
        r'(?:alignment\.)?((?:noun_prompt|region_prompt|word_prompt|text_segmenter|losses)\.)',
        r'co_decomposition.\1',
    ),
    # a tower alone as backbone or in the head
    (r'decode_head\.text_encoder\.', 'vision_language_backbone.text.'),
    (r'decode_head\.text_encoder\.', 'backbone.text.'),
    (r'backbone\.', 'backbone.visual.'),
)


def rename_own(state: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Give a state dict of an earlier checkpoint the names of today.

    Args:
        state (dict[str, Any]): Values by name.
        names (Collection[str]): Names of the model; what has one of them stays as it is, as does
            what no table knows.
    """
    return {_renamed(name, names): value for name, value in state.items()}


def rename_own_on_loading(model: nn.Module) -> None:
    """Let a model take earlier checkpoints however they are loaded (Runner, mmseg's tools)."""
    model._register_load_state_dict_pre_hook(_rename_in_place, with_module=True)


def _rename_in_place(model: nn.Module, state: dict[str, Any], prefix: str, *_) -> None:
    names = model.state_dict().keys()
    for name in [name for name in state if name.startswith(prefix)]:
        own = prefix + _renamed(name.removeprefix(prefix), names)
        if own not in state:
            state[own] = state.pop(name)


def _renamed(name: str, names: Collection[str]) -> str:
    if name in names:
        return name
    for pattern, replacement in _RENAMES:
        own = re.sub(rf'^{pattern}', replacement, name, count=1)
        if own in names:
            return own
    return name
