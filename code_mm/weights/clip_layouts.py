"""CLIPs of others: OpenAI's, open_clip's and Hugging Face's names, and what their configs state."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .files import read_json

_WRAPPER_PREFIXES = ('module.', '_orig_mod.', 'model.', 'clip.', 'clip_model.')
# Beside the weights: OpenAI's integers, open_clip's causal mask, Hugging Face's index buffers.
_NOT_WEIGHTS = re.compile(
    r'(input_resolution|context_length|vocab_size|(text\.)?attn_mask'
    r'|(text|vision)_model\.embeddings\.position_ids)$'
)
# Parts of names, theirs and ours; longer ones come before those that they hold.
_HUGGING_FACE = (
    ('vision_model.encoder.layers.', 'visual.transformer.resblocks.'),
    ('text_model.encoder.layers.', 'text.transformer.resblocks.'),
    ('vision_model.embeddings.', 'visual.'),
    ('text_model.embeddings.', 'text.'),
    ('vision_model.', 'visual.'),
    ('text_model.', 'text.'),
    ('patch_embedding.', 'conv1.'),
    ('position_embedding.weight', 'positional_embedding'),
    ('pre_layrnorm.', 'ln_pre.'),  # spelt so there
    ('post_layernorm.', 'ln_post.'),
    ('final_layer_norm.', 'ln_final.'),
    ('visual_projection.weight', 'visual.proj'),
    ('text_projection.weight', 'text.text_projection'),
    ('.layer_norm1.', '.ln_1.'),
    ('.layer_norm2.', '.ln_2.'),
    ('.mlp.fc1.', '.mlp.c_fc.'),
    ('.mlp.fc2.', '.mlp.c_proj.'),
    ('.self_attn.out_proj.', '.attn.out_proj.'),
)
_QKV = re.compile(r'(.+)self_attn\.([qkv])_proj\.(weight|bias)$')
_HEADS = ('vision_heads', 'text_heads')
# open_clip's large towers have heads of another width than 64: H/14, g/14 and bigG/14.
_HEADS_BY_WIDTH = {1280: 16, 1408: 16, 1664: 16}


def clip_layout(state: dict[str, Tensor]) -> str:
    """Whose names a state dict of a CLIP has: Hugging Face's, open_clip's, OpenAI's or our own.

    Plain files of open_clip have OpenAI's names; ours are open_clip's with a text tower of its own.
    """
    names = {name.removeprefix(_prefix(state)) for name in state}
    if any(name.startswith(('text_model.', 'vision_model.')) for name in names):
        return 'Hugging Face'
    if names & {'attn_mask', 'text.attn_mask'} or _prefix(state).startswith('module.'):
        return 'open_clip'
    return 'own' if any(name.startswith('text.') for name in names) else 'OpenAI'


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


def _prefix(state: dict[str, Tensor]) -> str:
    """What wrappers have put in front of every name."""
    prefix, found = '', state and _WRAPPER_PREFIXES
    while found := [p for p in found if all(name.startswith(prefix + p) for name in state)]:
        prefix, found = prefix + found[0], _WRAPPER_PREFIXES
    return prefix


def _from_hugging_face(state: dict[str, Tensor]) -> dict[str, Tensor]:
    own, parts = {}, {}
    for name, value in state.items():
        for theirs, ours in _HUGGING_FACE:
            name = name.replace(theirs, ours)
        if separate := _QKV.match(name):
            before, which, kind = separate.groups()
            parts.setdefault(f'{before}attn.in_proj_{kind}', {})[which] = value
        else:
            linear = name in ('visual.proj', 'text.text_projection')  # there, and no matrix
            own[name] = value.T.contiguous() if linear else value
    for name, qkv in parts.items():
        if len(qkv) == 3:
            own[name] = torch.cat([qkv['q'], qkv['k'], qkv['v']])
    return own


@dataclass(frozen=True)
class StatedCLIP:
    """What the sizes of a CLIP do not show, and where it is from; None where nothing states it."""

    activation: str | None = None  # 'quick_gelu' or 'gelu'
    vision_heads: int | None = None
    text_heads: int | None = None
    where: str = ''

    def __post_init__(self) -> None:
        heads = [n for n in (self.vision_heads, self.text_heads) if n is not None]
        known = self.activation in (None, 'quick_gelu', 'gelu')
        if not known or any(type(n) is not int or n < 1 for n in heads):
            raise ValueError(
                'expected quick_gelu or gelu and the heads of both towers, but '
                f'{self.where} states activation {self.activation!r} and {heads} heads'
            )


def stated_clip(path: str | Path, state: dict[str, Tensor], meta: dict | None = None) -> StatedCLIP:
    """Collect what a file, or ``config.json`` or ``open_clip_config.json`` beside it, states.

    Args:
        path (str | Path): The file.
        state (dict[str, Tensor]): Its tensors by its own names.
        meta (dict, optional): The metadata of a safetensors file.

    Raises:
        ValueError: The config beside the file cannot be read.
    """
    path = Path(path).expanduser()
    if meta and 'activation' in meta:  # written by tools/model_converters/clip.py
        heads = [int(meta[k]) if meta.get(k, '').isdecimal() else None for k in _HEADS]
        return StatedCLIP(meta['activation'], *heads, where=f'the metadata of {path}')
    name, read = 'open_clip_config.json', _of_open_clip
    if clip_layout(state) == 'Hugging Face':
        name, read = 'config.json', _of_hugging_face
    config = path.parent / name
    if config.is_file():
        try:
            return StatedCLIP(*read(read_json(config)), where=str(config))
        except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise ValueError(
                f'expected the config of a CLIP, but {config} cannot be read: {error}'
            ) from error
    if {'input_resolution', 'context_length', 'vocab_size'} <= state.keys():
        return StatedCLIP('quick_gelu', where="OpenAI's own file")
    return StatedCLIP()


def likely_heads(width: int) -> int:
    return _HEADS_BY_WIDTH.get(width, max(width // 64, 1))


def _of_hugging_face(config: dict) -> tuple[str, int, int]:
    text, vision = ({**(config.get(f'{tower}_config') or {})} for tower in ('text', 'vision'))
    # what is left out has the default of CLIPConfig
    kinds = {tower.get('hidden_act', 'quick_gelu') for tower in (text, vision)}
    if len(kinds) != 1:
        raise ValueError(f'expected one activation in both towers, but got {kinds}')
    heads = vision.get('num_attention_heads', 12), text.get('num_attention_heads', 8)
    return kinds.pop(), *heads


def _of_open_clip(config: dict) -> tuple[str, int, int]:
    config = config.get('model_cfg', config)
    vision, text = config.get('vision_cfg') or {}, config.get('text_cfg') or {}
    activation = 'quick_gelu' if config.get('quick_gelu') else 'gelu'
    heads = vision.get('width', 768) // vision.get('head_width', 64)
    return activation, heads, text.get('heads', 8)
