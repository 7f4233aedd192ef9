"""Filling a CLIP from a weight file."""

from __future__ import annotations

import logging
from pathlib import Path

from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor

from code_mm.weights import LoadReport, clip_layout, read_checkpoint, stated_clip, to_own_names
from code_mm.weights.clip_layouts import StatedCLIP, likely_heads
from code_mm.weights.files import tensors_of
from code_mm.weights.model_weights import pretrained_file, require_finite
from code_mm.weights.sources import local_file

# Constructor key -> the tensor that shows it, and its axis.
_SIZES = (
    ('vision_width', 'visual.conv1.weight', 0),
    ('patch_size', 'visual.conv1.weight', 2),
    ('embed_dim', 'text.text_projection', 1),
    ('embed_dim', 'visual.proj', 1),
    ('text_width', 'text.positional_embedding', 1),
    ('context_length', 'text.positional_embedding', 0),
    ('vocab_size', 'text.token_embedding.weight', 0),
)


def init_from_clip_file(clip: BaseModule) -> None:
    """Fill a CLIP from the file of its ``init_cfg``; without one it stays random, said aloud."""
    path = pretrained_file(clip)
    if path is not None:
        load_clip_weights(clip, path)
    elif not any(parameter.requires_grad for parameter in clip.parameters()):
        _warn(
            f'the frozen {type(clip).__name__} has no `init_cfg`: its weights are random unless '
            'a checkpoint is loaded afterwards'
        )


def load_clip_weights(clip: BaseModule, path: str | Path) -> None:
    """Fill a CLIP from a file in the layout of OpenAI, open_clip, Hugging Face or our own.

    ``path`` is a path, a name or an address (:func:`~code_mm.weights.sources.local_file`).

    Raises:
        ValueError: Names, sizes, heads or activation do not fit; says what the file has.
    """
    path = local_file(path)  # beside which a config may say more
    checkpoint = read_checkpoint(path)
    theirs = tensors_of(checkpoint, path)
    state, layout, kind = to_own_names(theirs), clip_layout(theirs), type(clip).__name__
    if not hasattr(clip, 'visual'):
        state = {name: value for name, value in state.items() if not name.startswith('visual.')}
    report = LoadReport.compare(clip, state, path, f'{layout} layout')
    missing, unexpected, wrong = report.missing, report.unexpected, list(report.wrong)
    if missing or unexpected or wrong:
        raise ValueError(
            f'{path} does not fit this {kind}: {len(missing)} missing {missing[:3]}, '
            f'{len(unexpected)} unexpected {unexpected[:3]}, {len(wrong)} of another size '
            f'{wrong[:3]}. Expected {clip_sizes(clip.state_dict())}, but the file ({layout} '
            f"layout) has {clip_sizes(state)}; set these keys of the model to the file's"
        )
    require_finite(clip, state, path)
    stated = stated_clip(path, theirs, checkpoint.get('meta'))
    _check_stated(clip, stated, path)
    if stated.activation is None and layout in ('open_clip', 'Hugging Face'):
        _warn(
            f'{path} does not state its activation: {clip.activation!r} of this {kind} is '
            'assumed. OpenAI trained with quick_gelu, LAION and DataComp mostly with gelu; if it '
            "is one of theirs, set activation='gelu'"
        )
    clip.load_state_dict(state)
    report.log()


def clip_sizes(state: dict[str, Tensor]) -> dict[str, int]:
    """Constructor sizes of :class:`CLIP` that can be told from a state dict with our names."""
    sizes = {name: state[key].shape[axis] for name, key, axis in _SIZES if key in state}
    if 'visual.positional_embedding' in state and 'patch_size' in sizes:
        grid = round((len(state['visual.positional_embedding']) - 1) ** 0.5)
        sizes['image_size'] = grid * sizes['patch_size']
    for name, prefix in (('vision_layers', 'visual.'), ('text_layers', 'text.')):
        blocks = {k.split('.')[3] for k in state if k.startswith(f'{prefix}transformer.resblocks.')}
        if blocks:
            sizes[name] = len(blocks)
    return sizes


def _check_stated(clip: BaseModule, stated: StatedCLIP, path: str | Path) -> None:
    """Compare what no size shows: the activation and the number of heads."""
    if stated.activation not in (None, clip.activation):
        raise ValueError(
            f'expected activation={stated.activation!r}, as {stated.where} states for {path}, but '
            f'this {type(clip).__name__} has {clip.activation!r}; set its key activation'
        )
    vision = getattr(clip, 'visual', None)
    for name, tower in (('vision', vision), ('text', clip.text)):
        heads = getattr(stated, f'{name}_heads')
        if tower is not None and heads not in (None, tower.heads):
            raise ValueError(
                f'expected {heads} attention heads, as {stated.where} states for {path}, but the '
                f'{name} tower has {tower.heads}; set {name}_heads={heads}'
            )
    if vision and stated.vision_heads is None and vision.heads != likely_heads(vision.width):
        _warn(
            f'{path} does not state its attention heads: {vision.heads} are assumed, while the '
            f'published towers of width {vision.width} have {likely_heads(vision.width)}'
        )


def _warn(text: str) -> None:
    print_log(text, logger='current', level=logging.WARNING)
