"""What a score was measured with: all that changes it, and where it departs from a protocol."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import numpy as np
import torch
from torch import nn

from code_mm.datasets.benchmarks.table import BENCHMARKS, benchmark_of
from code_mm.vocabulary import get_templates


def model_protocol(model: nn.Module) -> dict:
    """How a model turns images and class names into label maps, as it stands now.

    Args:
        model (nn.Module): A segmentor, its class names set. What it does not have is left out.

    Returns:
        dict: Class names and the checksum of their list, background threshold, templates, noun
        prompt, how CLIP is read densely (by module), scale and bias, window, post-processing,
        knowledge-preserving mix, name scores.
    """
    protocol = dict(type=type(model).__name__, inference=plain(getattr(model, 'test_cfg', None)))
    for name in ('mean', 'std'):
        value = getattr(getattr(model, 'data_preprocessor', None), name, None)
        protocol[f'image_{name}'] = plain(None if value is None else value.flatten())
    if not hasattr(model, 'set_class_names'):  # classes are trained, not named
        return protocol
    names = list(model.class_names or ())
    learnt_contexts = getattr(model.noun_prompt, 'num_contexts', 0) > 0
    return dict(
        protocol,
        class_names=names,
        class_names_sha256=class_names_sha256(names),
        background_threshold=model.background_threshold,
        noun_prompt=settings_of(model.noun_prompt),
        # with learnt contexts, sentences are used by the knowledge-preserving mix only
        templates=None if learnt_contexts else list(model.templates),
        raw_template_mean=model.raw_template_mean,
        dense_attention={
            name.removesuffix('.dense_attention'): settings_of(part)
            for name, part in model.named_modules()
            if name.endswith('.dense_attention')
        },
        scale=model.similarity_to_mask.scale.item(),
        bias=model.similarity_to_mask.bias.item(),
        **{
            name: settings_of(getattr(model.decode_head, name))
            for name in ('post_processor', 'knowledge_preserving', 'name_scores')
        },
    )


def dataset_protocol(dataset) -> dict:
    """Which images and labels, how many, and what the pipeline does to them."""
    protocol = dict(type=type(dataset).__name__, images=len(dataset))
    for name in ('data_root', 'ann_file', 'data_prefix', 'reduce_zero_label', 'ignore_index'):
        if hasattr(dataset, name):
            protocol[name] = plain(getattr(dataset, name))
    parts = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if parts[0] is not None:
        protocol['datasets'] = [dataset_protocol(part) for part in parts]
    transforms = getattr(getattr(dataset, 'pipeline', None), 'transforms', [])
    protocol['pipeline'] = [settings_of(transform) for transform in transforms]
    protocol['resize'] = [step for step in protocol['pipeline'] if 'Resize' in step['type']]
    return protocol


def class_names_sha256(names: Sequence[str]) -> str:
    """SHA-256 of a list of class names, order included (of their JSON, UTF-8)."""
    return hashlib.sha256(json.dumps(list(names), ensure_ascii=False).encode()).hexdigest()


def settings_of(part) -> dict | None:
    """Type of a part and the values of its constructor's keys, defaults included."""
    if part is None:
        return None
    keys = inspect.signature(type(part)).parameters
    values = {name: plain(getattr(part, name)) for name in keys if hasattr(part, name)}
    return dict(type=type(part).__name__, **values)


def plain(value):
    """The value in what JSON has; not a number becomes None."""
    if isinstance(value, (str, bool, int)) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (torch.Tensor, np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def _code(benchmark: str) -> dict:
    """Thesis §4.1 and the authors' release; post-processing is the method's, not the protocol's."""
    return {
        'resize': dict(scale=[2048, 448], keep_ratio=True),
        'window': dict(mode='slide', crop_size=[448, 448], stride=[224, 224]),
        'class names': 'data set',
        'background_threshold': BENCHMARKS[benchmark].background_threshold,
        'name_scores': None,
        'templates': list(get_templates('custom')),
    }


# Name -> function from the name of a benchmark to what the protocol says for it: ``resize``,
# ``window``, ``class names`` and keys of ``model_protocol``. A project adds its own here.
PROTOCOLS = dict(code=_code)


def check_protocol_name(name: str | None) -> None:
    """Raise a ValueError for a name that no protocol has."""
    if name is not None and name not in PROTOCOLS:
        nearest = get_close_matches(str(name), PROTOCOLS, n=1)
        hint = f'; did you mean {nearest[0]!r}?' if nearest else ''
        raise ValueError(
            f'expected protocol to be one of {list(PROTOCOLS)} or None, but got {name!r}{hint}'
        )


def departures(name: str | None, dataset: Mapping, model: Mapping) -> list[str]:
    """Where what a score was measured with departs from a named protocol.

    Args:
        name (str, optional): The protocol; from None nothing departs.
        dataset (Mapping): The ``dataset_protocol``.
        model (Mapping): The ``model_protocol``, with ``class_names_from``.

    Returns:
        list[str]: ``'window.stride [224, 224] (sclip: [112, 112])'`` and the like; empty where the
        protocol was kept.
    """
    if name is None:
        return []
    if (benchmark := benchmark_of(dataset['type'])) is None:
        return [f'data set {dataset["type"]} (none of the benchmarks of {name})']
    found = {
        **model,
        'resize': dataset['resize'][0] if len(dataset['resize']) == 1 else dataset['resize'],
        'window': model['inference'],
        'class names': model.get('class_names_from'),
    }
    if found.get('noun_prompt') is not None and found.get('templates') is None:
        found.pop('templates')  # learnt contexts stand in for them
    return [
        text
        for key, value in PROTOCOLS[name](benchmark).items()
        if key in found
        for text in _differences(key, found[key], value, name)
    ]


def _differences(key: str, found, expected, name: str) -> list[str]:
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        inner = [(f'{key}.{k}', found.get(k), value) for k, value in expected.items()]
        return [text for part in inner for text in _differences(*part, name)]
    if found == expected:
        return []
    if key == 'templates':
        found, expected = (f'{len(value or ())} sentences' for value in (found, expected))
    return [f'{key} {found} ({name}: {expected})']
