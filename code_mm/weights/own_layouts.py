"""Names in checkpoints that earlier versions of this project wrote, and today's for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from torch import Tensor

# What an old name begins with -> today's.
_OF_ANY = (
    ('decode_head.text_encoder.', 'vision_language_backbone.text.'),
    ('image_segmenter.block.', 'image_segmenter.tail.block.'),
    ('image_segmenter.ln_post.', 'image_segmenter.tail.ln_post.'),
    ('image_segmenter.proj', 'image_segmenter.tail.proj'),
)
_OF_CODE = (
    ('decode_head.similarity_to_mask.', 'co_decomposition.similarity_to_mask.'),
    ('losses.', 'co_decomposition.losses.'),
    ('noun_prompt.', 'co_decomposition.noun_prompt.'),
    ('region_prompt.', 'co_decomposition.region_prompt.'),
    ('text_segmenter.', 'co_decomposition.text_segmenter.'),
    ('word_prompt.', 'co_decomposition.word_prompt.'),
)
# of a CaptionAlignedSegmentor: all that its alignment had, its own head having one more mask scale
_ALIGNMENT = 'alignment.'
_OF_CAPTION_ALIGNED = (
    ('alignment.backbone.', 'vision_language_backbone.'),
    ('alignment.decode_head.similarity_to_mask.', 'co_decomposition.similarity_to_mask.'),
    ('alignment.', 'co_decomposition.'),
)


def rename_own(state: dict[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    """Give the tensors of an old checkpoint the names that a model has for them today.

    Args:
        state (dict[str, Tensor]): Tensors by name, old or new.
        names (Collection[str]): What the model's state dict has.

    Returns:
        dict[str, Tensor]: Renamed where the model has the new name, not the old one, and the
        file has no tensor of the new name; in the order of ``state``.
    """
    names = frozenset(names)
    aligned = any(name.startswith(_ALIGNMENT) for name in state)
    table = (*_OF_ANY, *(_OF_CAPTION_ALIGNED if aligned else _OF_CODE))
    renamed = {}
    for name, value in state.items():
        today = _renamed(name, table)
        keep = name in names or today not in names or today in state
        renamed[name if keep else today] = value
    return renamed


def _renamed(name: str, table: Iterable[tuple[str, str]]) -> str:
    for old, new in table:
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name
