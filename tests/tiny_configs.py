"""Any config of this project at a size that runs in milliseconds on a CPU."""

from pathlib import Path

from mmengine.config import Config
from tiny_model import CONTEXTS, SIZES

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
PROJECTS = CONFIGS.parent / 'projects'
SIDE = SIZES['image_size']
MAPS = [8, 16, 40, 64]  # channels of MixVisionTransformer's four maps
# What gets smaller, by the type of the part. Keys in _IF_THERE are replaced only where they stand.
_TINY = {
    'CLIP': SIZES,
    'NounContextPrompt': dict(num_contexts=CONTEXTS),
    'RegionHighlightingPrompt': dict(image_size=SIDE),
    'ZeroShotHead': dict(in_channels=SIZES['embed_dim']),
    'SegDataPreProcessor': dict(size=(SIDE, SIDE)),
    'LoadCaptionImage': dict(min_size=SIZES['patch_size']),
    'RandomResizedCrop': dict(size=SIDE),
    'TokenizeCaption': dict(
        context_length=SIZES['context_length'],
        noun_context_length=SIZES['context_length'] - CONTEXTS,
    ),
    'Resize': dict(scale=(2 * SIDE, SIDE)),
    'MixVisionTransformer': dict(embed_dims=MAPS[0], num_layers=[1, 1, 1, 1]),
    'SegformerHead': dict(in_channels=MAPS, channels=16),
    'CLIPPretrainBatches': dict(
        patch_size=SIZES['patch_size'], image_size=SIDE, context_length=SIZES['context_length']
    ),
}
_IF_THERE = {'in_channels', 'size'}


def all_configs():
    """Names of all configs, for ``load``, but for those in ``_base_``.

    Those that need mmpretrain or the packages for photographs, which may be missing, are left to
    ``test_mmpretrain_backbone.py`` and ``test_photos.py``.
    """
    files = [f for f in sorted(CONFIGS.rglob('*.py')) if not f.name.startswith('mmpretrain_')]
    names = [str(f.relative_to(CONFIGS)) for f in files if '_base_' not in f.parts]
    of_projects = [f for f in sorted(PROJECTS.glob('*/configs/*.py')) if 'photos' not in f.parts]
    return names + [str(f.relative_to(PROJECTS.parent)) for f in of_projects]


def load(name):
    """A config by its name below ``configs/``, or from ``projects/`` on."""
    return Config.fromfile((PROJECTS.parent if name.startswith('projects/') else CONFIGS) / name)


def parts(node, path=''):
    """All dicts with a ``type`` in a config, as (path, dict)."""
    if isinstance(node, dict):
        if isinstance(node.get('type'), str):
            yield path, node
        children = node.items()
    elif isinstance(node, (list, tuple)):
        children = enumerate(node)
    else:
        return
    for key, child in children:
        yield from parts(child, f'{path}.{key}' if path else str(key))


def shrink(cfg, checkpoint=None):
    """Override sizes of a config by keys, in place; weights are random without a checkpoint."""
    overrides = {}
    for path, part in parts(cfg._cfg_dict.to_dict()):
        name = part['type'].rpartition('.')[-1]
        for key, value in _TINY.get(name, {}).items():
            if key in part or key not in _IF_THERE:
                overrides[f'{path}.{key}'] = value
        if name == 'ZeroShotHead' and part.get('project'):
            overrides[f'{path}.embed_dim'] = SIZES['embed_dim']
            overrides[f'{path}.in_channels'] = MAPS
        if name == 'MixVisionTransformer':
            overrides[f'{path}.init_cfg'] = None
        if name.startswith('CLIP') and 'init_cfg' in part:
            init_cfg = dict(type='Pretrained', checkpoint=str(checkpoint)) if checkpoint else None
            overrides[f'{path}.init_cfg'] = init_cfg
    if cfg.model.get('test_cfg', {}).get('mode') == 'slide':
        overrides['model.test_cfg.crop_size'] = (SIDE, SIDE)
        overrides['model.test_cfg.stride'] = (SIDE // 2, SIDE // 2)
    cfg.merge_from_dict(overrides)
    return cfg
