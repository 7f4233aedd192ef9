"""Parameter names of whole segmentors: those of the CoDe and TCL releases, and of our earlier ones.

Patterns are tried in order, and the first that matches the beginning of a name renames it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from torch import Tensor, nn

# What our names begin with; anything else in a release is not known.
PARTS = ('backbone.', 'co_decomposition.', 'image_segmenter.')
# The release keeps CLIP three times; the copies beside `frozen_clip`, PAMR's kernels and the
# start token's embedding carry nothing of their own.
_COPIES = re.compile(
    r'pamr\.|clip_image_encoder\.|clip_text_encoder\.text_encoder\.'
    r'|clip_text_encoder\.prompt_learner\.(clip_model\.|token_prefix$)'
)
_CONSTANTS = re.compile(r'pamr\.|clip_text_encoder\.prompt_learner\.token_prefix$|.*attn_mask$')
_IMAGE = r'masker\.image_encoder\.'
_NETWORK = rf'{_IMAGE}decoder\.decoder\.net\.(\d+)\.conv\.'
_RELEASE = (
    (r'learnable_image_bg$', 'co_decomposition.region_prompt.image'),
    (r'bg_text$', 'co_decomposition.word_prompt.words'),
    (r'text_mask_w$', 'co_decomposition.text_segmenter.scale'),
    (r'text_mask_b$', 'co_decomposition.text_segmenter.bias'),
    (r'text_decoder\.', 'co_decomposition.text_segmenter.'),
    (r'clip_text_encoder\.prompt_learner\.ctx$', 'co_decomposition.noun_prompt.contexts'),
    (r'frozen_clip\.(visual\.|logit_scale$)', r'backbone.\1'),
    (r'frozen_clip\.', 'backbone.text.'),
    # the release keeps the block's index in the tower (11 for ViT-B/16)
    (rf'{_IMAGE}backbone\.transformer\.resblocks\.\d+\.', 'image_segmenter.tail.block.'),
    (rf'{_NETWORK}gate\.gate$', r'image_segmenter.decoder.\1.gate'),
    (_NETWORK, r'image_segmenter.decoder.\1.'),
    (rf'{_IMAGE}decoder\.image_proj\.ln\.', 'image_segmenter.tail.ln_post.'),
    (rf'{_IMAGE}decoder\.image_proj\.proj$', 'image_segmenter.tail.proj'),
    (r'masker\.sim2mask\.w$', 'co_decomposition.similarity_to_mask.scale'),
    (r'masker\.sim2mask\.b$', 'co_decomposition.similarity_to_mask.bias'),
    (r'tcli_loss\.', 'co_decomposition.losses.region_image.'),
    (r'tclf_loss\.', 'co_decomposition.losses.region_feature.'),
    (r'hcl_loss\.', 'co_decomposition.losses.region_word.'),
)
# TCL keeps its frozen CLIP in two encoders; what wraps the towers in there is passed over.
_IMAGE_TOWER = r'clip_image_encoder\.(?:\w+\.)*?'
_TEXT_TOWER = r'clip_text_encoder\.(?:\w+\.)*?'
_IN_IMAGE = r'class_embedding$|positional_embedding$|conv1\.|ln_pre\.|ln_post\.|transformer\.|proj$'
_IN_TEXT = r'positional_embedding$|text_projection$|token_embedding\.|ln_final\.|transformer\.'
_TCL = (
    *_RELEASE,
    (r'clip_(image|text)_encoder\.(?:\w+\.)*?visual\.', 'backbone.visual.'),
    (rf'{_IMAGE_TOWER}clip_proj\.ln\.', 'backbone.visual.ln_post.'),
    (rf'{_IMAGE_TOWER}clip_proj\.proj$', 'backbone.visual.proj'),
    (rf'{_IMAGE_TOWER}({_IN_IMAGE})', r'backbone.visual.\1'),
    (rf'{_TEXT_TOWER}({_IN_TEXT})', r'backbone.text.\1'),
    (r'clip_(image|text)_encoder\.(?:\w+\.)*?logit_scale$', 'backbone.logit_scale'),
)
_CODE_MARKS = ('frozen_clip.', 'clip_text_encoder.prompt_learner.')

# What an earlier name of ours begins with -> what today's may begin with: the first that the model
# has.
_OF_ANY = (
    ('image_segmenter.block.', 'image_segmenter.tail.block.'),
    ('image_segmenter.ln_post.', 'image_segmenter.tail.ln_post.'),
    ('image_segmenter.proj', 'image_segmenter.tail.proj'),
    # a tower alone as backbone, or in the head
    ('decode_head.text_encoder.', 'vision_language_backbone.text.'),
    ('decode_head.text_encoder.', 'backbone.text.'),
    ('backbone.', 'backbone.visual.'),
)
_TO_MASK = 'decode_head.similarity_to_mask.'
_OF_CODE = (
    (_TO_MASK, 'co_decomposition.similarity_to_mask.'),
    *(
        (f'{part}.', f'co_decomposition.{part}.')
        for part in ('losses', 'noun_prompt', 'region_prompt', 'text_segmenter', 'word_prompt')
    ),
)
# Of a CaptionAlignedSegmentor, whose head had a scale and bias of its own beside the alignment's.
_OF_CAPTION_ALIGNED = (
    ('alignment.backbone.', 'vision_language_backbone.'),
    (f'alignment.{_TO_MASK}', 'co_decomposition.similarity_to_mask.'),
    ('alignment.', 'co_decomposition.'),
)


def release_layout(names: Collection[str]) -> str | None:
    """'CoDe release' or 'TCL release' by the names of its tensors, None for anything else."""
    if not any(name.startswith('masker.sim2mask.') for name in names):
        return None
    return 'CoDe release' if any(n.startswith(_CODE_MARKS) for n in names) else 'TCL release'


def convert_release_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the ``model`` part of a release for :class:`CoDeSegmentor`; unknown names are kept.

    Floating tensors become fp32.
    """
    has_clip = any(name.startswith('frozen_clip.') for name in state)
    table, left_out = (_RELEASE, _COPIES) if has_clip else (_TCL, _CONSTANTS)
    converted = {}
    for name, value in state.items():
        if left_out.match(name):
            continue
        found = ((pattern, ours) for pattern, ours in table if re.match(pattern, name))
        pattern, ours = next(found, ('', ''))
        own = re.sub(pattern, ours, name, count=1)
        if own.endswith('word_prompt.words'):
            value = value.squeeze(1)  # [l, 1, width]
        converted[own] = value.float() if value.is_floating_point() else value
    return converted


def rename_own(state: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Give a state dict of an earlier checkpoint of ours the names of today, in its order.

    What has one of ``names`` (those of the model) or is in no table stays as it is, and nothing is
    overwritten.
    """
    aligned = any(name.startswith('alignment.') for name in state)
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
    for name in own:
        del state[prefix + name]
    renamed = rename_own(own, model.state_dict().keys())
    state.update((prefix + name, value) for name, value in renamed.items())
