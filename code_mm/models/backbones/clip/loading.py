"""Filling a CLIP, or one of its towers, from a weight file."""

from __future__ import annotations

import logging
from pathlib import Path

from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from code_mm.weights import (
    LoadReport,
    StatedCLIP,
    clip_layout,
    read_checkpoint,
    read_tensors,
    stated_clip,
    to_own_names,
)
from code_mm.weights.files import tensors_of
from code_mm.weights.stated_clip import likely_heads

__all__ = ['clip_keys', 'clip_sizes', 'init_from_clip_file', 'load_clip_weights', 'read_tensors']

_TOWERS = {'visual.': 'vision_', 'text.': 'text_'}


def load_clip_weights(module: nn.Module, path: str | Path, tower: str = '') -> LoadReport:
    """Load the file of a CLIP into a :class:`CLIP`, or into one of its towers.

    Args:
        module (nn.Module): The model to fill.
        path (str | Path): See :func:`read_checkpoint`; in the layout of OpenAI, open_clip, Hugging
            Face or our own.
        tower (str): 'visual.' or 'text.' where the module is that tower alone.

    Returns:
        LoadReport: What was loaded.

    Raises:
        ValueError: Names, sizes, heads or activation do not fit; the message says what the file
            has.
    """
    checkpoint = read_checkpoint(path)
    theirs = tensors_of(checkpoint)
    state = {k: v for k, v in to_own_names(theirs).items() if k.startswith(tower)}
    if not hasattr(module, 'visual'):
        state = {k: v for k, v in state.items() if not k.startswith('visual.')}
    own = {f'{tower}{name}': value for name, value in module.state_dict().items()}
    missing = sorted(own.keys() - state.keys())
    unexpected = sorted(state.keys() - own.keys())
    wrong = sorted(k for k in own.keys() & state.keys() if own[k].shape != state[k].shape)
    layout = f'{clip_layout(theirs)} layout'
    if missing or unexpected or wrong:
        raise ValueError(
            f'{path} does not fit this {type(module).__name__}: {len(missing)} missing '
            f'{missing[:3]}, {len(unexpected)} unexpected {unexpected[:3]}, {len(wrong)} of '
            f'another size {wrong[:3]}. Expected {_keys(own, tower)}, but the file ({layout}) has '
            f"{_keys(state, tower)}; set these keys of the model to the file's"
        )
    stated = stated_clip(path, theirs, checkpoint.get('meta'))
    _check_stated(module, stated, path, layout)
    module.load_state_dict({name.removeprefix(tower): value for name, value in state.items()})
    report = LoadReport.compare(
        module, {name.removeprefix(tower): value for name, value in state.items()}, path, layout
    )
    report.log()
    return report


def init_from_clip_file(module: BaseModule, tower: str = '') -> None:
    """Fill a CLIP, or one tower, from the file that its ``init_cfg`` names.

    Args:
        module (BaseModule): The model to fill; random weights, said aloud, without ``init_cfg``.
        tower (str): See :func:`load_clip_weights`.

    Raises:
        ValueError: ``init_cfg`` is not ``dict(type='Pretrained', checkpoint=...)``.
    """
    name, init_cfg = type(module).__name__, module.init_cfg
    if not init_cfg:
        if not any(p.requires_grad for p in module.parameters()):
            print_log(
                f'the frozen {name} has no `init_cfg`: its weights are random unless a '
                'checkpoint is loaded afterwards',
                logger='current',
                level=logging.WARNING,
            )
        return
    keys = init_cfg.keys() if isinstance(init_cfg, dict) else ()
    if set(keys) != {'type', 'checkpoint'} or init_cfg['type'] != 'Pretrained':
        raise ValueError(
            f"expected init_cfg=dict(type='Pretrained', checkpoint=...) for {name}, but got "
            f'{init_cfg}'
        )
    load_clip_weights(module, init_cfg['checkpoint'], tower)


def clip_sizes(state: dict[str, Tensor]) -> dict[str, int]:
    """Constructor sizes of :class:`CLIP` that can be told from a state dict with our names."""
    sizes = {}

    def tell(name: str, key: str, axis: int) -> None:
        if key in state:
            sizes[name] = state[key].shape[axis]

    tell('vision_width', 'visual.conv1.weight', 0)
    tell('patch_size', 'visual.conv1.weight', 2)
    tell('embed_dim', 'text.text_projection', 1)
    tell('embed_dim', 'visual.proj', 1)
    tell('text_width', 'text.positional_embedding', 1)
    tell('context_length', 'text.positional_embedding', 0)
    tell('vocab_size', 'text.token_embedding.weight', 0)
    if 'visual.positional_embedding' in state and 'patch_size' in sizes:
        grid = round((len(state['visual.positional_embedding']) - 1) ** 0.5)
        sizes['image_size'] = grid * sizes['patch_size']
    for name, prefix in (('vision_layers', 'visual.'), ('text_layers', 'text.')):
        blocks = {k.split('.')[3] for k in state if k.startswith(f'{prefix}transformer.resblocks.')}
        if blocks:
            sizes[name] = len(blocks)
    return sizes


def clip_keys(state: dict[str, Tensor], stated: StatedCLIP) -> dict[str, int | str | None]:
    """All keys of :class:`CLIP` for a file: its sizes, and what is stated about it.

    Args:
        state (dict[str, Tensor]): Tensors by our names.
        stated (StatedCLIP): Heads that it does not state are those of the published towers.
    """
    sizes = clip_sizes(state)
    if 'vision_width' in sizes:
        sizes['vision_heads'] = stated.vision_heads or likely_heads(sizes['vision_width'])
    if 'text_width' in sizes:
        sizes['text_heads'] = stated.text_heads or max(sizes['text_width'] // 64, 1)
    return {**sizes, 'activation': stated.activation}


def _keys(state: dict[str, Tensor], tower: str) -> dict[str, int]:
    """Sizes as keys of the module: a tower alone has ``width`` for ``vision_width``."""
    prefix = _TOWERS.get(tower, '')
    return {name.removeprefix(prefix): size for name, size in clip_sizes(state).items()}


def _check_stated(module: nn.Module, stated: StatedCLIP, path: str | Path, layout: str) -> None:
    """Compare what no size shows: the activation and the number of heads."""
    towers = {'vision': getattr(module, 'visual', None), 'text': getattr(module, 'text', None)}
    if not any(towers.values()):  # the module is one tower
        towers = {'vision' if hasattr(module, 'patch_size') else 'text': module}
    if stated.activation is not None and stated.activation != module.activation:
        raise ValueError(
            f'expected activation={stated.activation!r}, as {stated.where} states for {path}, but '
            f'this {type(module).__name__} has {module.activation!r}; set its key activation'
        )
    for name, encoder in towers.items():
        heads = getattr(stated, f'{name}_heads')
        if heads is not None and heads != encoder.heads:
            key = f'{name}_heads' if len(towers) > 1 else 'heads'
            raise ValueError(
                f'expected {heads} attention heads, as {stated.where} states for {path}, but the '
                f'{name} tower has {encoder.heads}; set {key}={heads}'
            )
    if stated.activation is None and (layout.startswith(('open_clip', 'Hugging'))):
        _warn(
            f'{path} does not state its activation: {module.activation!r} of this '
            f'{type(module).__name__} is assumed. OpenAI trained with quick_gelu, LAION and '
            "DataComp mostly with gelu; if it is one of theirs, set activation='gelu'"
        )
    vision = towers.get('vision')
    if vision and stated.vision_heads is None and vision.heads != likely_heads(vision.width):
        _warn(
            f'{path} does not state its attention heads: {vision.heads} are assumed, while the '
            f'published towers of width {vision.width} have {likely_heads(vision.width)}'
        )


def _warn(text: str) -> None:
    print_log(text, logger='current', level=logging.WARNING)
