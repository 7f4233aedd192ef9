"""Filling a whole segmentor from a checkpoint of any kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from .files import read_checkpoint, tensors_of
from .load_report import LoadReport
from .own_layouts import rename_own
from .release_weights import convert_release_weights, release_layout
from .trained_parts import CONTENT, FROZEN, complete_with_clip

# CLIP's own scale is used by no segmentor; TCL's release and our earlier single towers lack it.
_OPTIONAL = ('backbone.logit_scale', 'vision_language_backbone.logit_scale')


@dataclass(frozen=True)
class ModelWeights:
    """Tensors for a whole segmentor, by our names.

    Attributes:
        state (dict[str, Tensor]): Tensors by name.
        layout (str): 'CoDe release', 'TCL release', 'trained parts' or 'own'.
        source (str): The file.
        meta (dict): Metadata of the file.
    """

    state: dict[str, Tensor]
    layout: str
    source: str
    meta: dict

    @classmethod
    def of(cls, checkpoint: dict, source: str | Path) -> ModelWeights:
        """Recognise the layout of a checkpoint's content and rename its tensors."""
        meta = checkpoint.get('meta')
        meta = meta if isinstance(meta, dict) else {}
        state = tensors_of(checkpoint)
        layout = release_layout(state)
        if layout is not None:
            state = convert_release_weights(state)
        else:
            state = {name.removeprefix('module.'): value for name, value in state.items()}
            layout = 'trained parts' if meta.get('content') == CONTENT else 'own'
        return cls(state, layout, str(source), meta)

    def has_backbone(self, model: nn.Module) -> bool:
        names = {f'{FROZEN}{name}' for name, _ in model.backbone.named_parameters()}
        return names - set(_OPTIONAL) <= self.state.keys()

    def fitted(self, model: nn.Module, strict: bool = True) -> dict[str, Tensor]:
        """The tensors for a model (not wrapped), once their fit is checked and reported."""
        state = self.state
        if self.layout == 'trained parts':
            state = complete_with_clip(model, state, self.meta, self.source)
        state = rename_own(state, model.state_dict().keys())
        report = LoadReport.compare(model, state, self.source, self.layout)
        report.require_fit(strict, _OPTIONAL)
        report.log()
        return state


def load_model_weights(model: nn.Module, path: str | Path, strict: bool = True) -> None:
    """Fill a segmentor from a file: a checkpoint of this project or of a release, or trained parts.

    Raises:
        ValueError: The file cannot be read, or does not fit (``LoadReport.require_fit``).
    """
    weights = ModelWeights.of(read_checkpoint(path), path)
    model.load_state_dict(weights.fitted(model, strict), strict=False)


def init_from_files(model: BaseModule, start_copies: Callable[[], None]) -> None:
    """Fill a segmentor at the start: its parts from theirs, then all from its own ``init_cfg``.

    Args:
        model (BaseModule): The segmentor.
        start_copies (Callable): Starts what is trained as a copy of CLIP, once CLIP is loaded.
            Neither it nor the file of CLIP is needed where the file of ``init_cfg`` has all.
    """
    path = pretrained_file(model)
    weights = None if path is None else ModelWeights.of(read_checkpoint(path), path)
    if weights is None or not weights.has_backbone(model):
        for part in model.children():
            if hasattr(part, 'init_weights') and not getattr(part, 'is_init', False):
                part.init_weights()
        start_copies()
    if weights is not None:
        model.load_state_dict(weights.fitted(model), strict=False)
    model.is_init = True


def pretrained_file(module: BaseModule) -> str | None:
    """The file that a module's ``init_cfg`` names; None without ``init_cfg``.

    Raises:
        ValueError: ``init_cfg`` is not ``dict(type='Pretrained', checkpoint=...)``.
    """
    init_cfg = module.init_cfg
    if not init_cfg:
        return None
    keys = init_cfg.keys() if isinstance(init_cfg, Mapping) else ()
    if set(keys) != {'type', 'checkpoint'} or init_cfg['type'] != 'Pretrained':
        raise ValueError(
            f"expected init_cfg=dict(type='Pretrained', checkpoint=...) for "
            f'{type(module).__name__}, but got {init_cfg}'
        )
    return init_cfg['checkpoint']


def pretrained_files(config: Any) -> Iterator[str]:
    """Files that a model's config names anywhere, by ``Pretrained`` or ``pretrained``."""
    if isinstance(config, Mapping):
        if config.get('type') == 'Pretrained' and config.get('checkpoint'):
            yield str(config['checkpoint'])
        if isinstance(config.get('pretrained'), str):
            yield config['pretrained']
        config = list(config.values())
    for part in config if isinstance(config, (list, tuple)) else ():
        yield from pretrained_files(part)


def watch_loading(backbone: nn.Module) -> None:
    """Note from now on when a checkpoint fills the backbone, alone or in its segmentor."""
    backbone._filled_by_checkpoint = False
    # torch >= 2.1: the same hook without the underscore came later
    backbone._register_load_state_dict_pre_hook(_note_loading, with_module=True)


def has_weights(model: nn.Module) -> bool:
    """Whether a model was initialised or its backbone filled; other modules cannot tell."""
    filled = getattr(getattr(model, 'backbone', None), '_filled_by_checkpoint', False)
    return filled or getattr(model, 'is_init', True)


def refuse_random_weights(backbone: nn.Module) -> None:
    """Raise a RuntimeError where ``init_cfg`` names weights, but none were loaded."""
    init_cfg = getattr(backbone, 'init_cfg', None)
    if not any(pretrained_files(init_cfg)) or backbone.is_init or backbone._filled_by_checkpoint:
        return
    raise RuntimeError(
        f'expected a backbone with trained weights, but this {type(backbone).__name__} still has '
        f'random ones; call model.init_weights() to load what its init_cfg names ({init_cfg}), or '
        "load a checkpoint (mmseg's init_model loads none unless it is given one)"
    )


def _note_loading(backbone: nn.Module, state_dict: dict, prefix: str, *_) -> None:
    if any(name.startswith(prefix) for name in state_dict):
        backbone._filled_by_checkpoint = True
