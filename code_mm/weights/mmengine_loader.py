"""MMEngine's reading of checkpoints, as data only, once code_mm is imported."""

from __future__ import annotations

from typing import Any

from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint

from .files import read_checkpoint
from .model_weights import ModelWeights

# Model zoo -> MMEngine's function that gives the URLs of its models.
_ZOOS = {
    'modelzoo': 'get_torchvision_models',
    'torchvision': 'get_torchvision_models',
    'open-mmlab': 'get_external_models',
    'openmmlab': 'get_external_models',
    'mmcls': 'get_mmcls_models',
}


def read_for_mmengine() -> None:
    """Have MMEngine's ``CheckpointLoader`` read with ``read_checkpoint``, whatever a path is.

    Its own readers fall back to unpickling, which runs whatever a file asks for. Whatever
    ``local_file`` takes is taken, and names of model zoos; object stores are refused.
    """
    ours = {'': _read, 'http://': _read, 'https://': _read}
    ours.update((f'{zoo}://', _read_from_zoo) for zoo in _ZOOS)
    for scheme in {*CheckpointLoader._schemes, *ours}:
        CheckpointLoader.register_scheme(scheme, ours.get(scheme, _refuse), force=True)


def _read(source: str, map_location: Any = None) -> dict:
    checkpoint = read_checkpoint(source)  # whoever asked for it moves the tensors where they belong
    # MMEngine runs these texts: on resuming, and in an inferencer without a config
    info = checkpoint.get('message_hub')
    info = info.get('runtime_info') if isinstance(info, dict) else None
    for part, names in ((checkpoint.get('meta'), ('config', 'cfg')), (info, ('cfg',))):
        for name in names if isinstance(part, dict) else ():
            part.pop(name, None)
    weights = ModelWeights.of(checkpoint, source)
    if weights.layout in ('CoDe release', 'TCL release'):  # mmseg's functions know our names only
        meta = dict(weights.meta, layout=weights.layout)
        return dict(state_dict=weights.state, meta=meta)
    return checkpoint


def _read_from_zoo(name: str, map_location: Any = None) -> dict:
    zoo, _, model = name.partition('://')
    urls = getattr(mmengine_checkpoint, _ZOOS[zoo])()
    model = mmengine_checkpoint.get_deprecated_model_names().get(model, model)
    if not urls.get(model, '').startswith(('http://', 'https://')):
        raise ValueError(f'expected a model of the zoo {zoo}, but got {name!r}')
    content = _read(urls[model])
    return mmengine_checkpoint._process_mmcls_checkpoint(content) if zoo == 'mmcls' else content


def _refuse(name: str, *_) -> dict:
    raise ValueError(
        f'expected a file, a name of docs/weights.md, an http(s) URL, hf-hub:owner/name or a name '
        f'of a zoo, but got {name!r}; download the file first'
    )
