"""Embeddings of class lists on disk, for evaluations that are repeated."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Hashable
from pathlib import Path

import torch
from mmengine.logging import print_log
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from code_mm.atomic_write import atomic_write
from code_mm.weights import weights_sha256

_NAMES = ('embeddings', 'frozen_embeddings')
_FORMAT = 1  # to be raised when embeddings of the same weights and phrases change


class EmbeddingFiles:
    """One file per (weights, templates, phrases) in a folder.

    The name is a SHA-256 of all of them, so nothing in the folder is ever out of date, several
    processes may write there, and any file may be removed.

    Args:
        folder (str | Path): Made when the first file is written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def get(
        self,
        key: Hashable,
        modules: list[nn.Module],
        embed: Callable[[], tuple[Tensor | None, ...]],
    ) -> tuple[Tensor | None, ...]:
        """What ``embed()`` gives, from the folder where it is there.

        Args:
            key (Hashable): Phrases and templates: strings in nested tuples.
            modules (list[nn.Module]): Those whose weights the result depends on.
            embed (Callable): Makes one or two tensors, or None in their place.
        """
        path = self._path(key, modules)
        device = next(modules[0].parameters()).device
        try:
            kept = load_file(path, device=str(device))
            return tuple(kept.get(name) for name in _NAMES)
        except FileNotFoundError:
            pass
        except SafetensorError as error:
            print_log(f'{path} is damaged and made anew: {error}', logger='current')
        made = embed()
        self._write(path, made)
        return made

    def _path(self, key: Hashable, modules: list[nn.Module]) -> Path:
        device = next(modules[0].parameters()).device.type
        rounding = (
            str(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else None
        )
        parts = [_FORMAT, key, rounding]
        for module in modules:
            parts += [type(module).__name__, _settings(module), weights_sha256(module)]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        return self.folder / f'{digest}.safetensors'

    def _write(self, path: Path, made: tuple[Tensor | None, ...]) -> None:
        tensors = {n: t.contiguous() for n, t in zip(_NAMES, made, strict=True) if t is not None}
        try:
            os.makedirs(self.folder, exist_ok=True)
            with atomic_write(path) as temporary:
                save_file(tensors, temporary)
        except OSError as error:  # a full or read-only disk must not end an evaluation
            print_log(f'class embeddings are not kept in {self.folder}: {error}', logger='current')


def _settings(module: nn.Module) -> dict:
    """What a module computes with beside its weights, such as its number of heads."""
    plain = {k: v for k, v in vars(module).items() if isinstance(v, str | int | float)}
    return {k: v for k, v in sorted(plain.items()) if k != 'training' and not k.startswith('_')}
