"""Scores a model under one protocol, or reads what was scored before."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.evaluation import IoUMetric

from code_mm.atomic_write import write_text
from code_mm.registry import METRICS, TRANSFORMS
from code_mm.weights.model_weights import load_model_weights
from projects.dense_clip.protocol_effects.effects import Effect

SCORES = dict(mIoU='mIoU', foreground='foreground/mIoU', object_auc='object_auc')


def load_config(config: str, data: str, effect: Effect):
    """The config of a model with the keys of an effect, for one process without workers."""
    cfg = Config.fromfile(config)
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.test_dataloader.dataset.data_root = data
    cfg.custom_hooks = [dict(type='ClassNamesHook')]
    cfg.load_from, cfg.resume, cfg.launcher = None, False, 'none'
    for part in ('dataloader', 'cfg', 'evaluator'):
        for mode in ('train', 'val'):
            cfg.pop(f'{mode}_{part}', None)
    for name in ('optim_wrapper', 'param_scheduler'):
        cfg.pop(name, None)
    for key, value in effect.keys.items():  # parts are replaced, not merged into what was there
        *path, last = key.split('.')
        node = cfg
        for name in path:
            node = node[name]
        node[last] = copy.deepcopy(value)
    return cfg


def has_learnt_contexts(cfg) -> bool:
    """Whether class names are put behind learnt contexts, not into sentences."""
    prompt = cfg.model.get('co_decomposition', {}).get('noun_prompt')
    return bool(prompt) and prompt['type'].endswith('NounContextPrompt')


def measure(cfg, checkpoint: str | None, folder: Path) -> dict:
    """Metrics and protocol of a model, as ``test.json`` of ``ProtocolHook`` has them.

    ``folder`` keeps ``result.json`` and ``areas.npz``; a result of the same config and weights is
    read, not made again. ``checkpoint`` is None where the config names all weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cfg.test_evaluator = [
        dict(type='ImageAreas', path=str(folder / 'areas.npz'), iou_metrics=['mIoU']),
        dict(type='ForegroundIoUMetric', iou_metrics=['mIoU']),
        dict(type='ObjectBackgroundAUC'),
    ]
    fingerprint = _fingerprint(cfg, checkpoint)
    path = folder / 'result.json'
    if path.is_file():
        known = json.loads(path.read_text())
        if known['fingerprint'] == fingerprint and (folder / 'areas.npz').is_file():
            return known
    record = _run(cfg, checkpoint, folder)
    (benchmark,) = record['benchmarks'].values()
    result = dict(
        fingerprint=fingerprint,
        metrics={name: benchmark['metrics'][key] for name, key in SCORES.items()},
        protocol=dict(model=benchmark['model'], dataset=benchmark['dataset']),
        weights=record['weights']['sha256'],
        versions=record['versions'],
    )
    write_text(path, json.dumps(result, indent=1) + '\n')
    return result


def changed(before: Mapping, now: Mapping, path: str = '') -> dict[str, list]:
    """Where two protocols differ: path -> [before, now]."""
    found = {}
    for key in sorted(before.keys() | now.keys()):
        one, other, inner = before.get(key), now.get(key), f'{path}.{key}' if path else key
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found |= changed(one, other, inner)
        elif one != other:
            found[inner] = [one, other]
    return found


def _run(cfg, checkpoint: str | None, folder: Path) -> dict:
    cfg.work_dir = str(folder / 'runs')
    cfg.experiment_name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    cfg.log_level = 'WARNING'
    runner = Runner.from_cfg(cfg)
    if checkpoint is None:
        runner.model.init_weights()
    else:
        load_model_weights(runner.model, checkpoint)
    runner.test()
    return json.loads((Path(runner.log_dir) / 'results' / 'test.json').read_text())


def _fingerprint(cfg, checkpoint: str | None) -> str:
    digest = hashlib.sha256()
    keys = {key: cfg.get(key) for key in ('model', 'test_dataloader', 'custom_hooks')}
    digest.update(json.dumps(keys, sort_keys=True, default=str).encode())
    for path in [checkpoint, *_named_files(cfg.model)]:
        if path is not None:
            digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def _named_files(node) -> list[str]:
    if isinstance(node, Mapping):
        own = [node['checkpoint']] if node.get('type') == 'Pretrained' else []
        return own + [path for child in node.values() for path in _named_files(child)]
    return []


@METRICS.register_module()
class ImageAreas(IoUMetric):
    """mmseg's ``IoUMetric``, which also writes every image's areas into the npz file ``path``.

    It holds ``intersect`` and ``union``, [images, classes] pixels.
    """

    def __init__(self, path: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.path = path

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Write the areas, then go on as ``IoUMetric`` does."""
        intersect, union = (np.stack([np.asarray(one[i]) for one in results]) for i in (0, 1))
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(self.path, intersect=intersect, union=union)
        return super().compute_metrics(results)


def miou(intersect: np.ndarray, union: np.ndarray) -> np.ndarray:
    """Percent, from areas [..., classes]; classes that are nowhere do not count."""
    with np.errstate(invalid='ignore'):
        return 100 * np.nanmean(intersect / union, axis=-1)


def difference_error(first: Path, second: Path, draws: int = 1000, seed: int = 0) -> float:
    """Standard error of the difference of two mIoU over images, by the paired bootstrap.

    Args:
        first (Path): File of ``ImageAreas``.
        second (Path): Of the same images in the same order.
        draws (int): Times the images are drawn with replacement, for both alike.
        seed (int): Of the draws.
    """
    areas = [np.load(path) for path in (first, second)]
    counts = {len(one['union']) for one in areas}
    if len(counts) > 1:
        raise ValueError(f'expected areas of the same images, but got {sorted(counts)} images')
    (count,) = counts
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), draws)
    found = [miou(drawn @ one['intersect'], drawn @ one['union']) for one in areas]
    return float(np.std(found[0] - found[1], ddof=1))


@TRANSFORMS.register_module()
class ScoreAtInputSize(BaseTransform):
    """Let predictions keep the resized image's size, so that resized labels fit them.

    Behind ``LoadAnnotations`` and ``Resize``. Papers score at the labels' own size; some code
    does not.

    Required Keys:

    - img_shape

    Modified Keys:

    - ori_shape
    """

    def transform(self, results: dict) -> dict:
        """Take the resized image for the original one."""
        results['ori_shape'] = results['img_shape'][:2]
        return results
