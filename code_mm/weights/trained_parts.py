"""The trained parts of a model without its frozen CLIP, as a small file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

# Value of the key 'content' in the file's metadata, by which the file is recognised.
CONTENT = 'code_mm trained parts'
FROZEN = 'backbone.'


def clip_checksum(state: dict[str, Tensor]) -> str:
    """A short checksum of a CLIP's weights, the same for single- and half-precision copies."""
    digest = hashlib.sha256()
    for name in sorted(state.keys() - {'logit_scale'}):  # not used, and not in every release
        digest.update(name.encode())
        # adding 0 makes -0 and 0 the same bytes
        digest.update((state[name].detach().cpu().half() + 0).contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def save_trained_parts(
    state: dict[str, Tensor],
    path: str | Path,
    dtype: torch.dtype = torch.float32,
    metadata: dict[str, str] | None = None,
) -> list[str]:
    """Write what a model learnt beside its frozen CLIP.

    Args:
        state (dict[str, Tensor]): State dict of a ``CoDeSegmentor``.
        path (str | Path): safetensors file to write.
        dtype (torch.dtype): Of the floating tensors in the file.
        metadata (dict[str, str], optional): Further entries of the file's metadata.

    Returns:
        list[str]: Names that were written.
    """
    clip = {n.removeprefix(FROZEN): v for n, v in state.items() if n.startswith(FROZEN)}
    parts = {name: value for name, value in state.items() if not name.startswith(FROZEN)}
    if not clip or not parts:
        raise ValueError(
            f'expected the state dict of a CoDeSegmentor, but got {len(clip)} tensors of a CLIP '
            f'({FROZEN}*) and {len(parts)} beside it: {sorted(state)[:3]}'
        )
    parts = {
        name: (value.to(dtype) if value.is_floating_point() else value).contiguous()
        for name, value in parts.items()
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {'content': CONTENT, 'clip_checksum': clip_checksum(clip), 'format': 'pt'}
    save_file(parts, path, {**(metadata or {}), **known})
    return sorted(parts)


def complete_with_clip(
    model: nn.Module, parts: dict[str, Tensor], meta: dict[str, str], source: str
) -> dict[str, Tensor]:
    """Add the CLIP that the model's config names, filled if that is still to do, to trained parts.

    Raises:
        ValueError: The config names no CLIP, or another one than the parts were trained on.
    """
    backbone = getattr(model, 'backbone', None)
    if backbone is None or not (backbone.init_cfg or backbone.is_init):
        raise ValueError(
            f'{source} holds trained parts only: expected a CLIP to put them on, but the config '
            "names none; set model.backbone.init_cfg=dict(type='Pretrained', checkpoint=...)"
        )
    if not backbone.is_init:
        backbone.init_weights()
    clip = backbone.state_dict()
    found, expected = clip_checksum(clip), meta.get('clip_checksum')
    if expected is not None and found != expected:
        raise ValueError(
            f'expected the CLIP that {source} was trained on (checksum {expected}), but '
            f'model.backbone has another one ({found}); name that file in model.backbone.init_cfg'
        )
    return {**{f'{FROZEN}{name}': value for name, value in clip.items()}, **parts}
