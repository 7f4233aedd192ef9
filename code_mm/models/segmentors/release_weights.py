"""Weights of the authors' release under this project's names."""

from __future__ import annotations

import re

from torch import Tensor

# The release keeps CLIP three times; the copies beside `frozen_clip`, PAMR's kernels and the
# start token's embedding carry nothing of their own.
_COPIES = re.compile(
    r'pamr\.|clip_image_encoder\.|clip_text_encoder\.text_encoder\.'
    r'|clip_text_encoder\.prompt_learner\.(clip_model\.|token_prefix$)'
)
_RENAMES = (
    (r'learnable_image_bg$', 'region_prompt.image'),
    (r'bg_text$', 'word_prompt.words'),
    (r'text_mask_w$', 'text_segmenter.scale'),
    (r'text_mask_b$', 'text_segmenter.bias'),
    (r'text_decoder\.', 'text_segmenter.'),
    (r'clip_text_encoder\.prompt_learner\.ctx$', 'noun_prompt.contexts'),
    (r'frozen_clip\.(visual\.|logit_scale$)', r'backbone.\1'),
    (r'frozen_clip\.', 'backbone.text.'),
    # The release keeps the block's index in the tower (11 for ViT-B/16).
    (r'masker\.image_encoder\.backbone\.transformer\.resblocks\.\d+\.', 'image_segmenter.block.'),
    (
        r'masker\.image_encoder\.decoder\.decoder\.net\.(\d+)\.conv\.gate\.gate$',
        r'image_segmenter.decoder.\1.gate',
    ),
    (
        r'masker\.image_encoder\.decoder\.decoder\.net\.(\d+)\.conv\.',
        r'image_segmenter.decoder.\1.',
    ),
    (r'masker\.image_encoder\.decoder\.image_proj\.ln\.', 'image_segmenter.ln_post.'),
    (r'masker\.image_encoder\.decoder\.image_proj\.proj$', 'image_segmenter.proj'),
    (r'masker\.sim2mask\.w$', 'decode_head.similarity_to_mask.scale'),
    (r'masker\.sim2mask\.b$', 'decode_head.similarity_to_mask.bias'),
    (r'tcli_loss\.', 'losses.region_image.'),
    (r'tclf_loss\.', 'losses.region_feature.'),
    (r'hcl_loss\.', 'losses.region_word.'),
)


def convert_release_name(name: str) -> str | None:
    """Our name of a parameter of the release; None for the copies that it keeps of CLIP.

    Raises:
        KeyError: The release has no parameter of this name.
    """
    if _COPIES.match(name):
        return None
    for pattern, replacement in _RENAMES:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name, count=1)
    raise KeyError(f'expected a parameter name of the CoDe release, but got {name!r}')


def convert_release_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the ``model`` part of a release checkpoint for :class:`CoDeSegmentor`.

    Args:
        state (dict[str, Tensor]): Tensors by the release's names.

    Returns:
        dict[str, Tensor]: Tensors by our names, fp32 where floating.
    """
    converted = {}
    for name, value in state.items():
        own = convert_release_name(name)
        if own is None:
            continue
        if own == 'word_prompt.words':
            value = value.squeeze(1)  # [l, 1, width]
        converted[own] = value.float() if value.is_floating_point() else value
    return converted
