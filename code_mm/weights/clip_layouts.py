"""CLIP's parameter names: ours, and those of OpenAI, open_clip, Hugging Face and mmpretrain."""

from __future__ import annotations

import re

import torch
from torch import Tensor

_WRAPPER_PREFIXES = ('module.', '_orig_mod.', 'model.', 'clip.', 'clip_model.')
# Beside the weights: OpenAI's integers, open_clip's causal mask, Hugging Face's index buffers.
_NOT_WEIGHTS = re.compile(
    r'(input_resolution|context_length|vocab_size|(text\.)?attn_mask'
    r'|(text|vision)_model\.embeddings\.position_ids)$'
)
_BLOCK = (
    ('layer_norm1.', 'ln_1.'),
    ('layer_norm2.', 'ln_2.'),
    ('mlp.fc1.', 'mlp.c_fc.'),
    ('mlp.fc2.', 'mlp.c_proj.'),
    ('self_attn.out_proj.', 'attn.out_proj.'),
)
_HUGGING_FACE = {
    'logit_scale': 'logit_scale',
    'vision_model.embeddings.class_embedding': 'visual.class_embedding',
    'vision_model.embeddings.patch_embedding.weight': 'visual.conv1.weight',
    'vision_model.embeddings.position_embedding.weight': 'visual.positional_embedding',
    'vision_model.pre_layrnorm.weight': 'visual.ln_pre.weight',  # spelt so there
    'vision_model.pre_layrnorm.bias': 'visual.ln_pre.bias',
    'vision_model.post_layernorm.weight': 'visual.ln_post.weight',
    'vision_model.post_layernorm.bias': 'visual.ln_post.bias',
    'visual_projection.weight': 'visual.proj',
    'text_model.embeddings.token_embedding.weight': 'text.token_embedding.weight',
    'text_model.embeddings.position_embedding.weight': 'text.positional_embedding',
    'text_model.final_layer_norm.weight': 'text.ln_final.weight',
    'text_model.final_layer_norm.bias': 'text.ln_final.bias',
    'text_projection.weight': 'text.text_projection',
}
_HUGGING_FACE_BLOCK = re.compile(r'(vision|text)_model\.encoder\.layers\.(\d+)\.(.+)')
_QKV = re.compile(r'(.+)self_attn\.([qkv])_proj\.(weight|bias)$')

# mmpretrain's image tower; longer names come before the ones they begin with.
_MMPRETRAIN = (
    ('conv1.', 'patch_embed.projection.'),
    ('class_embedding', 'cls_token'),
    ('positional_embedding', 'pos_embed'),
    ('ln_pre.', 'pre_norm.'),
    ('ln_post.', 'ln1.'),
    ('transformer.resblocks.', 'layers.'),
    ('.ln_1.', '.ln1.'),
    ('.ln_2.', '.ln2.'),
    ('.attn.in_proj_', '.attn.qkv.'),
    ('.attn.out_proj.', '.attn.proj.'),
    ('.mlp.c_fc.', '.ffn.layers.0.0.'),
    ('.mlp.c_proj.', '.ffn.layers.1.'),
)


def clip_layout(state: dict[str, Tensor]) -> str:
    """Whose names a state dict of a CLIP has: Hugging Face's, open_clip's, OpenAI's or our own.

    Plain files of open_clip have OpenAI's names; ours are open_clip's with a text tower of its own.
    """
    names = {name.removeprefix(_prefix(state)) for name in state}
    if any(name.startswith(('text_model.', 'vision_model.')) for name in names):
        return 'Hugging Face'
    if names & {'attn_mask', 'text.attn_mask'} or _prefix(state) == 'module.':
        return 'open_clip'
    if any(name.startswith('text.') for name in names):
        return 'own'
    return 'OpenAI'


def to_own_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of a CLIP, or of one of its towers, to those of :class:`CLIP`.

    Buffers that are no weights are left out, unknown names are kept.

    Raises:
        ValueError: It is a CLIP on a ResNet.
    """
    prefix = _prefix(state)
    state = {name.removeprefix(prefix): value for name, value in state.items()}
    state = {name: value for name, value in state.items() if not _NOT_WEIGHTS.match(name)}
    if any(name.startswith('visual.layer1.') for name in state):
        raise ValueError('expected a CLIP with a vision transformer, but got one on a ResNet')
    if clip_layout(state) == 'Hugging Face':
        return _from_hugging_face(state)
    # OpenAI keeps the text tower at the top level; ours is below `text.`
    at_top = ('visual.', 'text.', 'logit_')
    return {n if n.startswith(at_top) else f'text.{n}': value for n, value in state.items()}


def to_mmpretrain_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a CLIP for a ``ZeroShotSegmentor`` around ``mmpretrain.VisionTransformer``.

    The image tower becomes ``backbone``, its projection into the joint space the 1x1 convolution
    ``decode_head.projection``, and the rest the ``vision_language_backbone``.

    Args:
        state (dict[str, Tensor]): A whole CLIP under our names, see ``to_own_names``.

    Raises:
        ValueError: The image tower's projection is missing.
    """
    if 'visual.proj' not in state:
        raise ValueError(f"expected a whole CLIP with 'visual.proj', but got {sorted(state)[:5]}")
    projection = state['visual.proj'].T[:, :, None, None].contiguous()
    renamed = {
        'decode_head.projection.weight': projection,
        'decode_head.projection.bias': torch.zeros_like(projection[:, 0, 0, 0]),
    }
    for name, value in state.items():
        tower, _, rest = name.partition('.')
        if tower != 'visual':
            renamed[f'vision_language_backbone.{name}'] = value
        elif rest != 'proj':
            for theirs, ours in _MMPRETRAIN:
                rest = rest.replace(theirs, ours)
            if rest in ('cls_token', 'pos_embed'):
                value = value.view(1, -1, value.shape[-1])
            renamed[f'backbone.{rest}'] = value
    return renamed


def _prefix(state: dict[str, Tensor]) -> str:
    """What a wrapper has put in front of every name."""
    for prefix in _WRAPPER_PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            return prefix
    return ''


def _from_hugging_face(state: dict[str, Tensor]) -> dict[str, Tensor]:
    own, parts = {}, {}
    for name, value in state.items():
        separate = _QKV.match(name)
        if separate:
            before, which, kind = separate.groups()
            parts.setdefault(f'{before}attn.in_proj_{kind}', {})[which] = value
        elif name in ('visual_projection.weight', 'text_projection.weight'):
            own[_HUGGING_FACE[name]] = value.T.contiguous()  # a Linear there
        else:
            own[_hugging_face_name(name)] = value
    for name, qkv in parts.items():
        if len(qkv) == 3:
            own[_hugging_face_name(name)] = torch.cat([qkv['q'], qkv['k'], qkv['v']])
    return own


def _hugging_face_name(name: str) -> str:
    block = _HUGGING_FACE_BLOCK.match(name)
    if not block:
        return _HUGGING_FACE.get(name, name)
    tower = 'visual' if block[1] == 'vision' else 'text'
    rest = block[3]
    for theirs, ours in _BLOCK:
        rest = rest.replace(theirs, ours)
    return f'{tower}.transformer.resblocks.{block[2]}.{rest}'
