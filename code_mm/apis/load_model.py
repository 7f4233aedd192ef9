"""From a config and a weight file to a zero-shot segmentor that is ready to predict."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.logging import MMLogger, print_log
from mmengine.registry import init_default_scope

from code_mm import ROOT
from code_mm.engine.config_check import read_config
from code_mm.models.segmentors import ZeroShotSegmentor
from code_mm.registry import MODELS
from code_mm.weights.model_weights import load_model_weights, pretrained_files
from code_mm.weights.sources import local_file, public_models

# Where no model is named; from a checkout or a wheel, see code_mm/__init__.py.
DEFAULT_MODEL = 'projects/photos/configs/photos_efficientnet-lite2.py'
_DEFAULT_SAID = (
    f'No model was named: using {DEFAULT_MODEL}. It knows some 3000 names of things in photographs '
    "by ImageNet's classes, and less well what 30 000 captions speak of. A better one by name: "
    "naclip_vit-b16 (fetches OpenAI's CLIP), docs/inference.md"
)


def load_config(model: str | Path | dict | None) -> Config | ConfigDict:
    """A config from its path, by the name of a public model, or as it is.

    By name its weights are those of that model, unless others are loaded. None is the model for
    photographs, said aloud.

    Raises:
        OSError: There is neither.
        ValueError: It is no config, or has no model.
    """
    if model is None:
        print_log(_DEFAULT_SAID, logger='current')
        model = Path(ROOT) / DEFAULT_MODEL
    if isinstance(model, (str, Path)):
        name, entry = str(model), {}
        if not Path(model).is_file():
            models = {n: one for n, one in public_models().items() if 'Config' in one}
            if name not in models:
                names = f'; nor is it one of {", ".join(models)}' if Path(name).name == name else ''
                raise FileNotFoundError(
                    f'expected a config file, but {name!r} does not exist{names}'
                )
            entry = models[name]
            model = entry['Config']
        if Path(model).suffix not in ('.py', '.json', '.yaml', '.yml'):
            raise ValueError(
                f'expected a config (.py), but got {str(model)!r}; weights go second: '
                'CoDeInferencer(config, weights)'
            )
        model = read_config(model)
        if 'Weights' in entry:
            model.model.init_cfg = dict(type='Pretrained', checkpoint=name)
    cfg = model if isinstance(model, (Config, ConfigDict)) else ConfigDict(model)
    if not cfg.get('model'):
        raise ValueError('expected a model in the config, but got none: a part of configs only?')
    return cfg


def load_zero_shot_model(
    cfg: Config | ConfigDict, weights: str | Path | None = None, device: str = 'cpu'
) -> ZeroShotSegmentor:
    """Build a segmentor, fill it, and put it into evaluation mode.

    ``weights`` are of any kind that ``load_model_weights`` takes; by default those that
    ``init_cfg`` names in the config, which is all that training-free models need.

    Raises:
        TypeError: The model takes no class names.
        ValueError: The weights do not fit, or there are none.
    """
    try:
        torch.zeros((), device=device)
    except (RuntimeError, AssertionError) as error:  # torch's, by the kind of device
        raise ValueError(
            f'expected a device of this machine ({get_device()}), but got {device!r}: {error}'
        ) from error
    if weights is not None:
        weights = local_file(weights)
    elif not any(pretrained_files(cfg.model)):
        raise ValueError(
            'expected weights, but got none, and the config names none either (init_cfg); give a '
            'checkpoint as the second argument'
        )
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    kind = cfg.model.type
    found = MODELS.get(kind) if isinstance(kind, str) else kind
    if found is None or not issubclass(found, ZeroShotSegmentor):
        raise TypeError(
            'expected a model that takes class names (ZeroShotSegmentor, CoDeSegmentor), but got '
            f'{getattr(kind, "__name__", kind)}; use mmseg.apis.MMSegInferencer for models with '
            'trained classes'
        )
    model = MODELS.build(cfg.model)
    if weights is None:
        logger = MMLogger.get_current_instance()
        logger.addFilter(_is_no_parameter)
        model.init_weights()
        logger.removeFilter(_is_no_parameter)
    else:
        load_model_weights(model, weights)
    model.cfg = cfg
    return model.to(device).eval()


def _is_no_parameter(record: logging.LogRecord) -> bool:
    """MMEngine logs where every single parameter comes from; here what was loaded is enough."""
    return ' - torch.Size(' not in record.getMessage()
