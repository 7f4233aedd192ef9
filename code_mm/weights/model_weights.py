"""Filling a whole segmentor from a checkpoint of any kind, with one report of what was loaded."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from .files import read_checkpoint, tensors_of
from .segmentor_layouts import convert_release_weights, release_layout, rename_own

# By the key 'content' in its metadata a file of trained parts is recognised.
TRAINED_PARTS = 'code_mm trained parts'
FROZEN = 'backbone.'
# What DDP and torch.compile put into names.
_OF_WRAPPERS = re.compile(r'^(module\.|_orig_mod\.)+|(?<=\.)_orig_mod\.')
# CLIP's own scale is used by no segmentor; TCL's release and our earlier single towers lack it.
_OPTIONAL = {'backbone.logit_scale', 'vision_language_backbone.logit_scale'}


@dataclass(frozen=True)
class LoadReport:
    """What of a file a model takes, by names.

    Attributes:
        title (str): The file, whose names it has, and the type of the model.
        missing (list[str]): Parameters of the model that the file lacks.
        unexpected (list[str]): Tensors of the file that the model has no use for.
        wrong (dict[str, tuple]): Names in both, but of another size: (the model's, the file's).
        num_parameters (int): Parameters of the model, beside which it may have buffers.
    """

    title: str
    loaded: list[str]
    missing: list[str]
    unexpected: list[str]
    wrong: dict[str, tuple[tuple, tuple]]
    num_parameters: int

    @classmethod
    def compare(
        cls, model: nn.Module, state: dict[str, Tensor], source: str | Path, layout: str
    ) -> LoadReport:
        """Compare the parameters of a model with tensors by the same names."""
        own = {name: tuple(p.shape) for name, p in model.named_parameters()}
        sizes = {name: tuple(value.shape) for name, value in state.items()}
        wrong = {n: (own[n], sizes[n]) for n in own if n in sizes and own[n] != sizes[n]}
        known = own.keys() | {name for name, _ in model.named_buffers()}
        return cls(
            title=f'{source} ({layout}) -> {type(model).__name__}',
            loaded=[name for name in sizes if name in known and name not in wrong],
            missing=[name for name in own if name not in sizes],
            unexpected=[name for name in sizes if name not in known],
            wrong=wrong,
            num_parameters=len(own),
        )

    def require_fit(self, strict: bool = True) -> None:
        """Stop where a file does not fit the model.

        Args:
            strict (bool): Every parameter that is used must be there; False: at least one.

        Raises:
            ValueError: It does not fit.
        """
        missing = [name for name in self.missing if name not in _OPTIONAL]
        some = len(self.missing) + len(self.wrong) < self.num_parameters
        if (missing or self.wrong) and (strict or not some):
            sizes = [f'{name} {file} for {own}' for name, (own, file) in self.wrong.items()]
            raise ValueError(
                f'expected a checkpoint of this model, but {self.title} lacks {len(missing)} of '
                f'its {self.num_parameters} parameters {missing[:3]} and has {len(sizes)} of '
                f'another size {sizes[:3]}; use the config that it was trained with'
            )

    def log(self) -> None:
        print_log(str(self), logger='current')

    def __str__(self) -> str:
        return (
            f'{self.title}: loaded {len(self.loaded)}, missing {_few(self.missing)}, '
            f'unexpected {_few(self.unexpected)}, of another size {_few(self.wrong)}'
        )


def require_finite(model: nn.Module, state: dict[str, Tensor], source: str | Path) -> None:
    """Raise a ValueError where tensors for parameters are NaN, infinite, too large, or integers."""
    own = {name: value.dtype for name, value in model.named_parameters() if name in state}
    wrong = [f'{n} ({why})' for n, kind in own.items() if (why := _why_unusable(state[n], kind))]
    if wrong:
        raise ValueError(
            f'expected finite floating-point weights, but of {source} {len(wrong)} are not: '
            f'{", ".join(wrong[:3])}; the training that wrote the file diverged, or it was '
            'converted wrongly: use an earlier checkpoint or the original file'
        )


def _why_unusable(value: Tensor, dtype: torch.dtype) -> str:
    if value.is_floating_point() != dtype.is_floating_point:
        return f'{value.dtype} for {dtype}'
    if value.to(dtype).isfinite().all():
        return ''
    return f'beyond {dtype}' if value.isfinite().all() else 'NaN or infinite'


def _few(names: Collection[str]) -> str:
    """'4 (visual.proj, visual.conv1.weight, text.ln_final.bias, ...)': how many, and the first."""
    more = ['...'] if len(names) > 3 else []
    return f'{len(names)} ({", ".join([*names][:3] + more)})' if names else '0'


@dataclass(frozen=True)
class ModelWeights:
    """Tensors for a whole segmentor, by our names.

    Attributes:
        layout (str): 'CoDe release', 'TCL release', 'trained parts' or 'own'.
        source (str | Path): The file, and ``meta`` its metadata.
    """

    state: dict[str, Tensor]
    layout: str
    source: str | Path
    meta: dict

    @classmethod
    def of(cls, checkpoint: dict, source: str | Path) -> ModelWeights:
        """Recognise the layout of a checkpoint's content and rename its tensors."""
        meta = checkpoint.get('meta')
        meta = meta if isinstance(meta, dict) else {}
        tensors = tensors_of(checkpoint, source)
        state = {_OF_WRAPPERS.sub('', name): value for name, value in tensors.items()}
        if layout := release_layout(state):
            return cls(convert_release_weights(state), layout, source, meta)
        of_parts = meta.get('content') == TRAINED_PARTS
        layout = 'trained parts' if of_parts else meta.get('layout', 'own')
        return cls(state, layout, source, meta)

    @classmethod
    def read(cls, path: str | Path) -> ModelWeights:
        return cls.of(read_checkpoint(path), path)

    def fitted(self, model: nn.Module, strict: bool = True) -> dict[str, Tensor]:
        """The tensors for a model (not wrapped), once their fit is checked and reported.

        Raises:
            ValueError: They do not fit, see ``LoadReport.require_fit``.
        """
        state = self.state
        if self.layout == 'trained parts':
            state = {**self._clip_of(model), **state}
        state = rename_own(state, model.state_dict().keys())
        report = LoadReport.compare(model, state, self.source, self.layout)
        report.require_fit(strict)
        require_finite(model, state, self.source)
        report.log()
        return state

    def _clip_of(self, model: nn.Module) -> dict[str, Tensor]:
        """The CLIP that the model's config names, filled if that is still to do."""
        backbone = getattr(model, 'backbone', None)
        if backbone is None or not (backbone.init_cfg or backbone.is_init):
            raise ValueError(
                f'{self.source} holds trained parts only: expected a CLIP to put them on, but the '
                'config names none; set '
                "model.backbone.init_cfg=dict(type='Pretrained', checkpoint=...)"
            )
        if not backbone.is_init:
            backbone.init_weights()
        clip = backbone.state_dict()
        found, expected = clip_checksum(clip), self.meta.get('clip_checksum')
        if expected not in (None, found):
            raise ValueError(
                f'expected the CLIP that {self.source} was trained on (checksum {expected}), but '
                f'model.backbone has another one ({found}); name that file in '
                'model.backbone.init_cfg'
            )
        return {f'{FROZEN}{name}': value for name, value in clip.items()}


def load_model_weights(model: nn.Module, path: str | Path) -> None:
    """Fill a segmentor from a file: a checkpoint of this project or of a release, or trained parts.

    Raises:
        ValueError: The file cannot be read, or does not fit.
    """
    model.load_state_dict(ModelWeights.read(path).fitted(model), strict=False)


def init_from_files(model: BaseModule, start_copies: Callable[[], None]) -> None:
    """Fill a segmentor at the start: its parts from theirs, then all from its own ``init_cfg``.

    Args:
        model (BaseModule): The segmentor.
        start_copies (Callable): Starts what is trained as a copy of CLIP, once CLIP is loaded.
            Neither it nor the file of CLIP is needed where the file of ``init_cfg`` has all.
    """
    path = pretrained_file(model)
    weights = ModelWeights.read(path) if path is not None else None
    clip = {f'{FROZEN}{name}' for name, _ in model.backbone.named_parameters()} - _OPTIONAL
    if weights is None or not clip <= weights.state.keys():
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
    known = isinstance(init_cfg, Mapping) and init_cfg.keys() == {'type', 'checkpoint'}
    if not known or init_cfg['type'] != 'Pretrained':
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
    """From now on a backbone counts as initialised once a checkpoint fills it or its segmentor."""
    # torch >= 2.1: the same hook without the underscore came later
    backbone._register_load_state_dict_pre_hook(_note_loading, with_module=True)


def _note_loading(backbone: nn.Module, state_dict: dict, prefix: str, *_) -> None:
    if any(name.startswith(prefix) for name in state_dict):
        backbone.is_init = True


def refuse_random_weights(backbone: nn.Module) -> None:
    """Raise a RuntimeError where ``init_cfg`` names weights, but none were loaded."""
    init_cfg = getattr(backbone, 'init_cfg', None)
    if any(pretrained_files(init_cfg)) and not backbone.is_init:
        raise RuntimeError(
            f'expected a backbone with trained weights, but this {type(backbone).__name__} still '
            f'has random ones; call model.init_weights() to load what its init_cfg names '
            f"({init_cfg}), or load a checkpoint (mmseg's init_model loads none unless it is given "
            'one)'
        )


def clip_checksum(state: dict[str, Tensor]) -> str:
    """A short checksum of a CLIP's weights, the same for single- and half-precision copies."""
    digest = hashlib.sha256()
    for name in sorted(state.keys() - {'logit_scale'}):  # not used, and not in every release
        digest.update(name.encode())
        # adding 0 makes -0 and 0 the same bytes
        digest.update((state[name].detach().cpu().half() + 0).contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def weights_sha256(model: nn.Module) -> str:
    """SHA-256 of names, types, shapes and bytes of all that a checkpoint of the model holds.

    Wherever the weights came from (a checkpoint, its converted form, ``init_cfg``), equal weights
    have equal sums. A ViT-B/16 takes a second or two.
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if isinstance(value, Tensor):
            tensor = value.detach().cpu().contiguous()
            digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}\n'.encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
