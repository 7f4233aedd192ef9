"""Parameter names of this project's earlier checkpoints, and today's for them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn

# What an old name begins with -> what today's may begin with: the first that the model has.
_OF_ANY = (
    ('image_segmenter.block.', 'image_segmenter.tail.block.'),
    ('image_segmenter.ln_post.', 'image_segmenter.tail.ln_post.'),
    ('image_segmenter.proj', 'image_segmenter.tail.proj'),
    # a tower alone as backbone, or in the head
    ('decode_head.text_encoder.', 'vision_language_backbone.text.'),
    ('decode_head.text_encoder.', 'backbone.text.'),
    ('backbone.', 'backbone.visual.'),
)
_OF_CODE = (
    ('decode_head.similarity_to_mask.', 'co_decomposition.similarity_to_mask.'),
    ('losses.', 'co_decomposition.losses.'),
    ('noun_prompt.', 'co_decomposition.noun_prompt.'),
    ('region_prompt.', 'co_decomposition.region_prompt.'),
    ('text_segmenter.', 'co_decomposition.text_segmenter.'),
    ('word_prompt.', 'co_decomposition.word_prompt.'),
)
# Of a CaptionAlignedSegmentor, whose head had a scale and bias of its own beside the alignment's.
_ALIGNMENT = 'alignment.'
_OF_CAPTION_ALIGNED = (
    ('alignment.backbone.', 'vision_language_backbone.'),
    ('alignment.decode_head.similarity_to_mask.', 'co_decomposition.similarity_to_mask.'),
    ('alignment.', 'co_decomposition.'),
)


def rename_own(state: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Give a state dict of an earlier checkpoint the names of today, in its order.

    What has one of ``names`` (those of the model) or is in no table stays as it is, and nothing is
    overwritten.
    """
    aligned = any(name.startswith(_ALIGNMENT) for name in state)
    table = (*_OF_ANY, *(_OF_CAPTION_ALIGNED if aligned else _OF_CODE))
    renamed = {}
    for name, value in state.items():
        today = (new + name.removeprefix(old) for old, new in table if name.startswith(old))
        found = next((own for own in today if own in names and own not in state), name)
        renamed[name if name in names else found] = value
    return renamed


def rename_own_on_loading(model: nn.Module) -> None:
    """Let a model take earlier checkpoints however they are loaded (Runner, mmseg's tools)."""
    model._register_load_state_dict_pre_hook(_rename_in_place, with_module=True)


def _rename_in_place(model: nn.Module, state: dict[str, Any], prefix: str, *_) -> None:
    own = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
    renamed = rename_own(own, model.state_dict().keys())
    for name in own:
        del state[prefix + name]
    state.update((prefix + name, value) for name, value in renamed.items())
