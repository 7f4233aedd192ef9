"""What a score was measured with: all that changes it."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from collections.abc import Mapping, Sequence

import mmcv
import mmengine
import mmseg
import numpy as np
import torch
from torch import nn

from code_mm.version import __version__


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


def versions() -> dict[str, str]:
    """Versions of the packages that a score may depend on."""
    packages = dict(mmseg=mmseg, mmengine=mmengine, mmcv=mmcv, torch=torch)
    found = {name: package.__version__ for name, package in packages.items()}
    return dict(code_mm=__version__, **found)


def class_names_sha256(names: Sequence[str]) -> str:
    """SHA-256 of a list of class names, order included (of their JSON, UTF-8)."""
    text = json.dumps(list(names), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


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
