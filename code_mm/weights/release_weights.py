"""Weights of the CoDe and TCL releases under this project's names."""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch import Tensor

# The release keeps CLIP three times; the copies beside `frozen_clip`, PAMR's kernels and the
# start token's embedding carry nothing of their own.
_COPIES = re.compile(
    r'pamr\.|clip_image_encoder\.|clip_text_encoder\.text_encoder\.'
    r'|clip_text_encoder\.prompt_learner\.(clip_model\.|token_prefix$)'
)
_CONSTANTS = re.compile(r'pamr\.|clip_text_encoder\.prompt_learner\.token_prefix$|.*attn_mask$')
_IMAGE = r'masker\.image_encoder\.'
_RENAMES = (
    (r'learnable_image_bg$', 'co_decomposition.region_prompt.image'),
    (r'bg_text$', 'co_decomposition.word_prompt.words'),
    (r'text_mask_w$', 'co_decomposition.text_segmenter.scale'),
    (r'text_mask_b$', 'co_decomposition.text_segmenter.bias'),
    (r'text_decoder\.', 'co_decomposition.text_segmenter.'),
    (r'clip_text_encoder\.prompt_learner\.ctx$', 'co_decomposition.noun_prompt.contexts'),
    (r'frozen_clip\.(visual\.|logit_scale$)', r'backbone.\1'),
    (r'frozen_clip\.', 'backbone.text.'),
    # The release keeps the block's index in the tower (11 for ViT-B/16).
    (rf'{_IMAGE}backbone\.transformer\.resblocks\.\d+\.', 'image_segmenter.tail.block.'),
    (
        rf'{_IMAGE}decoder\.decoder\.net\.(\d+)\.conv\.gate\.gate$',
        r'image_segmenter.decoder.\1.gate',
    ),
    (rf'{_IMAGE}decoder\.decoder\.net\.(\d+)\.conv\.', r'image_segmenter.decoder.\1.'),
    (rf'{_IMAGE}decoder\.image_proj\.ln\.', 'image_segmenter.tail.ln_post.'),
    (rf'{_IMAGE}decoder\.image_proj\.proj$', 'image_segmenter.tail.proj'),
    (r'masker\.sim2mask\.w$', 'co_decomposition.similarity_to_mask.scale'),
    (r'masker\.sim2mask\.b$', 'co_decomposition.similarity_to_mask.bias'),
    (r'tcli_loss\.', 'co_decomposition.losses.region_image.'),
    (r'tclf_loss\.', 'co_decomposition.losses.region_feature.'),
    (r'hcl_loss\.', 'co_decomposition.losses.region_word.'),
)
# TCL keeps its frozen CLIP in two encoders; what wraps the towers in there is passed over.
_TCL_CLIP = (
    (r'clip_(image|text)_encoder\.(?:\w+\.)*?visual\.', 'backbone.visual.'),
    (r'clip_image_encoder\.(?:\w+\.)*?clip_proj\.ln\.', 'backbone.visual.ln_post.'),
    (r'clip_image_encoder\.(?:\w+\.)*?clip_proj\.proj$', 'backbone.visual.proj'),
    (
        r'clip_image_encoder\.(?:\w+\.)*?'
        r'(class_embedding$|positional_embedding$|conv1\.|ln_pre\.|ln_post\.|transformer\.|proj$)',
        r'backbone.visual.\1',
    ),
    (
        r'clip_text_encoder\.(?:\w+\.)*?'
        r'(positional_embedding$|text_projection$|token_embedding\.|ln_final\.|transformer\.)',
        r'backbone.text.\1',
    ),
    (r'clip_(image|text)_encoder\.(?:\w+\.)*?logit_scale$', 'backbone.logit_scale'),
)
# What our names begin with; anything else in a release is not known.
PARTS = ('backbone.', 'co_decomposition.', 'image_segmenter.')
_MARK = 'masker.sim2mask.'
_CODE_MARKS = ('frozen_clip.', 'clip_text_encoder.prompt_learner.')


def release_layout(names: Iterable[str]) -> str | None:
    """'CoDe release' or 'TCL release' by the names of its tensors, None for anything else."""
    names = [name.removeprefix('module.') for name in names]
    if not any(name.startswith(_MARK) for name in names):
        return None
    return 'CoDe release' if any(n.startswith(_CODE_MARKS) for n in names) else 'TCL release'


def convert_release_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the ``model`` part of a release for :class:`CoDeSegmentor`; unknown names are kept.

    Floating tensors become fp32.
    """
    state = {name.removeprefix('module.'): value for name, value in state.items()}
    has_clip = any(name.startswith('frozen_clip.') for name in state)
    tables = _RENAMES if has_clip else (*_RENAMES, *_TCL_CLIP)
    copies = _COPIES if has_clip else _CONSTANTS
    converted = {}
    for name, value in state.items():
        if copies.match(name):
            continue
        own = next(
            (
                re.sub(pattern, ours, name, count=1)
                for pattern, ours in tables
                if re.match(pattern, name)
            ),
            name,
        )
        if own.endswith('word_prompt.words'):
            value = value.squeeze(1)  # [l, 1, width]
        converted[own] = value.float() if value.is_floating_point() else value
    return converted
