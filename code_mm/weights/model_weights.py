"""Filling a whole segmentor from a checkpoint of any kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmengine.model import BaseModule
from torch import Tensor, nn

from .files import read_checkpoint, tensors_of
from .load_report import LoadReport
from .own_layouts import rename_own
from .release_weights import convert_release_weights, release_layout
from .trained_parts import CONTENT, FROZEN, complete_with_clip

# CLIP's own scale is used by nothing in CoDe, and TCL's release does not have it.
_OPTIONAL = ('backbone.logit_scale',)


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
        released = tensors_of(checkpoint)
        layout = release_layout(released)
        if layout is not None:
            return cls(convert_release_weights(released), layout, str(source), meta)
        state = checkpoint.get('state_dict', checkpoint)
        state = {
            name.removeprefix('module.'): value
            for name, value in state.items()
            if isinstance(value, Tensor)
        }
        layout = 'trained parts' if meta.get('content') == CONTENT else 'own'
        return cls(state, layout, str(source), meta)

    def has_backbone(self, model: nn.Module) -> bool:
        """Whether the file has the model's whole CLIP, so that no other file is needed for it."""
        names = {f'{FROZEN}{name}' for name, _ in model.backbone.named_parameters()}
        return names - set(_OPTIONAL) <= self.state.keys()

    def fitted(self, model: nn.Module, strict: bool = True) -> dict[str, Tensor]:
        """The tensors for a model, after a report of what is loaded, missing and unexpected.

        Args:
            model (nn.Module): The segmentor, not wrapped.
            strict (bool): Every parameter must be there; False: at least one.

        Raises:
            ValueError: The file does not fit the model.
        """
        state = rename_own(self.state, model.state_dict().keys())
        if self.layout == 'trained parts':
            state = complete_with_clip(model, state, self.meta, self.source)
        report = LoadReport.compare(model, state, self.source, self.layout)
        report.require_fit(strict, _OPTIONAL if self.layout == 'TCL release' else ())
        report.log()
        return state


def load_model_weights(model: nn.Module, path: str | Path, strict: bool = True) -> None:
    """Fill a segmentor from a file.

    Args:
        model (nn.Module): E.g. a ``CoDeSegmentor``.
        path (str | Path): A checkpoint of this project, the original checkpoint of the CoDe or TCL
            release, or trained parts (``tools/model_converters/export_trained.py``), for which the
            CLIP is taken from the model's ``backbone.init_cfg``.
        strict (bool): Every parameter must be there; False: at least one.

    Raises:
        ValueError: The file cannot be read, or does not fit.
    """
    weights = ModelWeights.of(read_checkpoint(path), path)
    model.load_state_dict(weights.fitted(model, strict), strict=False)


def init_from_files(model: BaseModule, start_from_clip: Callable[[], None]) -> None:
    """Fill a segmentor at the start: from CLIP, then from the file of its own ``init_cfg``.

    Args:
        model (BaseModule): The segmentor.
        start_from_clip (Callable): Fills the backbone from its file and starts the rest from it;
            left out where the file of ``init_cfg`` has the whole model.
    """
    weights = init_cfg_weights(model)
    if weights is None or not weights.has_backbone(model):
        init_cfg, model.init_cfg = model.init_cfg, None  # read here, not by MMEngine
        start_from_clip()
        model.init_cfg = init_cfg
    if weights is not None:
        model.load_state_dict(weights.fitted(model), strict=False)
    model._is_init = True


def init_cfg_weights(model: BaseModule) -> ModelWeights | None:
    """The weights that a segmentor's own ``init_cfg`` names, None without one.

    Raises:
        ValueError: ``init_cfg`` is not ``dict(type='Pretrained', checkpoint=...)``.
    """
    init_cfg = model.init_cfg
    if not init_cfg:
        return None
    keys = init_cfg.keys() if isinstance(init_cfg, dict) else ()
    if set(keys) != {'type', 'checkpoint'} or init_cfg['type'] != 'Pretrained':
        raise ValueError(
            f"expected init_cfg=dict(type='Pretrained', checkpoint=...) for "
            f'{type(model).__name__}, but got {init_cfg}'
        )
    path = init_cfg['checkpoint']
    return ModelWeights.of(read_checkpoint(path), path)
