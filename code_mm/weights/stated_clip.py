"""What a weight file, or the config beside it, states about a CLIP that its sizes do not show."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

# open_clip's large towers have heads of another width than 64: H/14, g/14 and bigG/14.
_HEADS_BY_WIDTH = {1280: 16, 1408: 16, 1664: 16}


@dataclass(frozen=True)
class StatedCLIP:
    """Facts about a CLIP; None where nothing states them.

    Attributes:
        activation (str, optional): 'quick_gelu' or 'gelu'.
        vision_heads, text_heads (int, optional): Attention heads.
        where (str): What states them.
    """

    activation: str | None = None
    vision_heads: int | None = None
    text_heads: int | None = None
    where: str = ''


def stated_clip(path: str | Path, state: dict[str, Tensor], meta: dict | None = None) -> StatedCLIP:
    """Collect what a file, or ``config.json`` or ``open_clip_config.json`` beside it, states.

    Args:
        path (str | Path): The file.
        state (dict[str, Tensor]): Its tensors by its own names.
        meta (dict, optional): The metadata of a safetensors file.

    Raises:
        ValueError: The config beside the file cannot be read.
    """
    path, meta = Path(path).expanduser(), meta or {}
    if 'activation' in meta:  # written by tools/model_converters/clip.py
        heads = {key: int(meta[key]) for key in ('vision_heads', 'text_heads') if key in meta}
        return StatedCLIP(meta['activation'], **heads, where=f'the metadata of {path}')
    hugging_face = any(name.startswith(('text_model.', 'vision_model.')) for name in state)
    if hugging_face and (path.parent / 'config.json').is_file():
        return _from_hugging_face(path.parent / 'config.json')
    if not hugging_face and (path.parent / 'open_clip_config.json').is_file():
        return _from_open_clip(path.parent / 'open_clip_config.json')
    if {'input_resolution', 'context_length', 'vocab_size'} <= state.keys():
        return StatedCLIP('quick_gelu', where="OpenAI's own file")
    return StatedCLIP()


def likely_heads(width: int) -> int:
    return _HEADS_BY_WIDTH.get(width, max(width // 64, 1))


def _from_hugging_face(config: Path) -> StatedCLIP:
    content = _read(config)
    text, vision = ({**(content.get(f'{tower}_config') or {})} for tower in ('text', 'vision'))
    # what is left out has the default of CLIPConfig
    kinds = {tower.get('hidden_act', 'quick_gelu') for tower in (text, vision)}
    if len(kinds) != 1:
        raise ValueError(f'expected one activation in both towers, but {config} has {kinds}')
    return StatedCLIP(
        kinds.pop(),
        vision_heads=vision.get('num_attention_heads', 12),
        text_heads=text.get('num_attention_heads', 8),
        where=str(config),
    )


def _from_open_clip(config: Path) -> StatedCLIP:
    content = _read(config)
    content = content.get('model_cfg', content)
    vision, text = content.get('vision_cfg') or {}, content.get('text_cfg') or {}
    return StatedCLIP(
        'quick_gelu' if content.get('quick_gelu') else 'gelu',
        vision_heads=vision.get('width', 768) // vision.get('head_width', 64),
        text_heads=text.get('heads', 8),
        where=str(config),
    )


def _read(config: Path) -> dict:
    try:
        return json.loads(config.read_text())
    except ValueError as error:
        raise ValueError(f'expected json, but {config} cannot be read: {error}') from error
