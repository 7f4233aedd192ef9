"""Keys and kinds of values of every part in a config, checked against what takes them."""

from __future__ import annotations

import inspect
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import mmengine.registry
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.registry import Registry
from mmengine.runner import LogProcessor, Runner
from mmengine.utils import import_modules_from_strings
from mmengine.utils.dl_utils import set_multi_processing
from mmseg.models import EncoderDecoder
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.utils.data import DataLoader

# The top-level keys with a meaning: parameters of the Runner, and what it takes from ``cfg`` itself
# or the tools read.
KEYS = {
    *(set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'}),
    *('compile', 'custom_imports', 'find_unused_parameters', 'model_wrapper_cfg', 'protocol'),
    *('runner_type', 'sync_bn', 'tta_model', 'tta_pipeline', 'vis_backends'),
}
# Taken out of a dict before its part is built, by mmengine or by mmcv's functions for layers.
_TAKEN_BEFORE = {
    *('type', '_scope_', 'name', 'priority', 'convert_to_iter_based', 'epoch_length'),
    *('requires_grad', 'optimizer', 'constructor', 'paramwise_cfg'),
    'keep_results',  # mmseg's tools/test.py --out gives it to IoUMetric, which drops it
}
# Dicts without a type: what takes their keys, and keys that are asked for one by one.
_LOADER = ((DataLoader,), {'num_batch_per_epoch', 'disable_subprocess_warning'})
_UNTYPED = {
    **{f'{stage}_dataloader': _LOADER for stage in ('train', 'val', 'test')},
    'auto_scale_lr': ((), {'enable', 'base_batch_size'}),
    'custom_imports': ((import_modules_from_strings,), set()),
    'env_cfg.mp_cfg': ((set_multi_processing,), set()),
    'log_processor': ((LogProcessor,), set()),
    'randomness': ((Runner.set_randomness,), set()),
    'optim_wrapper.clip_grad': ((clip_grad_norm_, clip_grad_value_), {'type'}),
    # of DefaultOptimWrapperConstructor; others have keys of their own
    'optim_wrapper.paramwise_cfg': (
        (),
        {'custom_keys', 'bypass_duplicate', 'dcn_offset_lr_mult', 'bias_lr_mult'}
        | {f'{kind}_decay_mult' for kind in ('bias', 'norm', 'dwconv', 'flat')},
    ),
}
# Where MMEngine fails at an unknown type without naming it.
_NAMED_BADLY = ('optim_wrapper', 'vis_backends', 'visualizer')
# Packages whose constructors hand **kwargs on to their base class, and to nothing else.
_KNOWN = ('code_mm', 'projects', 'mmseg', 'mmengine', 'mmcv', 'torch')
# difflib's ratio: one wrong letter in four has .75. MMSegmentation's own configs have custom_keys
# for parameters that a model lacks, the nearest of them at .67.
_MISSPELT = 0.72


def check_parts(cfg: Config) -> None:
    """Compare every part of a config with the constructor that will take it.

    Raises:
        ValueError: A part or key that does not exist, or a number where none is taken; names it by
            its place in the config, and the nearest that does.
    """
    # those of --cfg-options were not imported when the file was read
    import_modules_from_strings(**(cfg.get('custom_imports') or dict(imports=[])))
    registered = _registered()
    for place, keys in dicts({key: cfg[key] for key in KEYS if key in cfg}):
        own = place.startswith('optim_wrapper.') and 'constructor' in cfg.optim_wrapper
        if place in _UNTYPED and not own:
            takers, more = _UNTYPED[place]
            known = {name for taker in takers for name in inspect.signature(taker).parameters}
            check_keys(place, keys, known | more)
        elif 'type' in keys:
            _check_part(place, keys, registered)


def check_custom_keys(cfg: Config, model: nn.Module) -> None:
    """Raise a ValueError for misspelt ``paramwise_cfg.custom_keys``, or settings in them.

    MMEngine looks for a key anywhere in a parameter's name. Here it must be one or more whole parts
    of it ('norm' of 'norm1', 'decode_head.gate'), or unlike all: then a warning says so.
    """
    wrapper = cfg.get('optim_wrapper') or {}
    paramwise = wrapper.get('paramwise_cfg') or {}
    names = [name for name, _ in model.named_parameters()]
    parts = {part for name in names for part in (*name.split('.'), *re.split(r'[._]', name))}
    optimizers = _registered().get((wrapper.get('optimizer') or {}).get('type'), [])
    known = {name for optimizer in optimizers for name in _parameters(optimizer)}
    for key, settings in (paramwise.get('custom_keys') or {}).items():
        place = f'optim_wrapper.paramwise_cfg.custom_keys.{key}'
        if known:
            check_keys(place, settings, known | {'lr_mult', 'decay_mult'})
        whole = re.compile(rf'(^|[._]){re.escape(key.strip("."))}($|[._\d])')
        if any(map(whole.search, names)):
            continue
        if nearest := get_close_matches(key, parts, n=1, cutoff=_MISSPELT):
            raise ValueError(
                "expected optim_wrapper.paramwise_cfg.custom_keys that are parts of a parameter's "
                f'name, but got {key!r}; did you mean {nearest[0]!r}?'
            )
        if not any(key in name for name in names):
            text = f'{place} does nothing: no parameter has {key!r} in its name'
            print_log(text, logger='current', level=logging.WARNING)


def check_keys(place: str, given: Sequence | Mapping, known: set[str]) -> None:
    """Raise a ValueError that names the first key (of a dotted one its head) that is not known."""
    for key in given:
        head = str(key).split('.')[0]
        if head not in known:
            advice = _advice(head, known) or f'; valid: {sorted(known - _TAKEN_BEFORE)}'
            raise ValueError(f'expected a known key in {place}, but got {key!r}{advice}')


def dicts(node, place: str = '') -> Iterator[tuple[str, Mapping]]:
    """All dicts in a config with their place, but for those that other packages read."""
    if isinstance(node, Mapping):
        if node.get('_scope_', 'mmseg') not in _KNOWN or node.get('type') == 'Albu':
            return
        yield place, node
    if isinstance(node, (Mapping, list, tuple)):
        for key, child in node.items() if isinstance(node, Mapping) else enumerate(node):
            yield from dicts(child, f'{place}.{key}' if place else str(key))


def _check_part(place: str, keys: Mapping, registered: Mapping[str, list]) -> None:
    kind, takers = keys['type'], [keys['type']]
    if isinstance(kind, str):
        scope, _, name = kind.rpartition('.')
        if not (takers := registered.get(name, [])) and scope in ('', *_KNOWN):
            advice = _advice(name, registered)
            if advice or place.startswith(_NAMED_BADLY):  # else the builder says so
                raise ValueError(
                    f'expected {place}.type to be registered, but got {kind!r}{advice}'
                )
    if not all(getattr(t, '__module__', '').startswith(_KNOWN) for t in takers):
        return
    if any(map(_lacks_mmdet, takers)):
        raise ValueError(
            f'expected MMDetection (mmdet), on which {place} ({kind}) is built, but it is not '
            'installed'
        )
    parameters = {name: hint for t in takers for name, hint in _parameters(t).items()}
    if not parameters:
        return
    check_keys(f'{place} ({kind})', keys, parameters.keys() | _TAKEN_BEFORE)
    for key, value in keys.items():
        if not _fits(value, hint := parameters.get(key, Any)):
            raise ValueError(f'expected {place}.{key} as {hint}, but got {value!r}')
    if isinstance(takers[0], type) and issubclass(takers[0], BaseDataset):
        found = [inspect.signature(k).parameters.get('data_prefix') for k in takers[0].__mro__[:-1]]
        known = {name for p in found if p and isinstance(p.default, dict) for name in p.default}
        check_keys(f'{place}.data_prefix', keys.get('data_prefix') or {}, known)
    if keys.get('train_cfg') and _reads_no_train_cfg(takers[0]):
        check_keys(f'{place}.train_cfg', keys['train_cfg'], set())


def _reads_no_train_cfg(taker) -> bool:
    ours = taker.__module__.startswith('code_mm.') and issubclass(taker, EncoderDecoder)
    return ours and taker.loss is not EncoderDecoder.loss


def _lacks_mmdet(taker) -> bool:
    """Whether MMSegmentation built a class on a stand-in for MMDetection's."""
    names = vars(sys.modules[taker.__module__])
    return any(name.startswith('MMDET_') for name in names) and find_spec('mmdet') is None


def _registered() -> dict[str, list]:
    """Name -> what is registered under it, in all registries."""
    found: dict[str, list] = {}
    registries = [r for r in vars(mmengine.registry).values() if isinstance(r, Registry)]
    while registries:
        registry = registries.pop()
        registries += registry.children.values()
        for name, taker in registry.module_dict.items():
            found.setdefault(name, []).append(taker)
    return found


def _parameters(taker: Callable) -> dict[str, Any]:
    """Name -> annotation of all that a class or function takes; empty where it takes anything.

    Where a constructor takes ``**kwargs``, those of its base class count as well.
    """
    found: dict[str, Any] = {}
    classes = taker.__mro__[:-1] if inspect.isclass(taker) else ()
    constructors = [vars(c)['__init__'] for c in classes if '__init__' in vars(c)]
    if taker is CheckpointHook:
        constructors.append(Runner.save_checkpoint)  # gets the hook's **kwargs
    for function in constructors or [taker]:
        given = list(inspect.signature(function).parameters.values())[bool(classes) :]  # no self
        try:
            hints = get_type_hints(function)
        except (NameError, TypeError, AttributeError):  # names for type checkers alone
            hints = {}
        named = [p.name for p in given if p.kind is not p.VAR_KEYWORD]
        found = {**{name: hints.get(name, Any) for name in named}, **found}
        if len(named) == len(given):
            return found
    return {}


def _fits(value, hint) -> bool:
    """False where a number was given and the annotation surely allows none."""
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    kinds = {get_origin(member) or member for member in members}
    several = {tuple, list, dict, Sequence, Mapping}
    return (
        not isinstance(value, (int, float))
        or kinds <= {str}
        or not kinds <= several | {str, NoneType}
    )


def _advice(given: str, known) -> str:
    nearest = get_close_matches(str(given), list(known), n=1)
    return f'; did you mean {nearest[0]!r}?' if nearest else ''
