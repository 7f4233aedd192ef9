"""tools/test.py --tta: every score is that of the merged views, in every kind of loop."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from miniature_benchmarks import make_miniature
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image
from tiny_configs import load, shrink

from code_mm.registry import MODELS

METRICS = ('IoUMetric', 'ForegroundIoUMetric', 'ObjectBackgroundAUC')
METRICS = [dict(type=name) for name in METRICS] + [dict(type='PerImageIoU', output_dir='images')]
START = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 32), keep_ratio=True)]
END = [dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
FLIPS = [dict(type='RandomFlip', prob=float(flipped)) for flipped in (False, True)]
TTA = [START[0], dict(type='TestTimeAug', transforms=[START[1:], FLIPS, END[:1], END[1:]])]


@pytest.fixture(scope='module')
def cfg(world, tmp_path_factory):
    """Two benchmarks, one with a pipeline and metrics of its own."""
    folder = tmp_path_factory.mktemp('augmented')
    cfg = shrink(load('eval/maskclip_vit-b16_all.py'), world.clip)
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.test_dataloader.dataset.pipeline = [*START, *END]
    cfg.test_evaluator = METRICS
    cfg.test_cfg.only = ['context60', 'voc21']
    chosen = cfg.test_cfg.benchmarks
    for name in cfg.test_cfg.only:
        chosen[name].dataset.data_root = str(make_miniature(name, folder, 3))
    chosen.voc21.update(evaluator=METRICS)
    chosen.voc21.dataset.pipeline = [*START, *END]
    # a threshold that decides
    chosen.voc21.background_threshold = chosen.context60.background_threshold = 0.5
    cfg.tta_model, cfg.tta_pipeline = dict(type='SegTTAModel'), TTA
    cfg.work_dir = str(folder)
    return cfg


def run(run_tool, cfg, name):
    """Metrics of a run, and the folder of its predictions."""
    folder = Path(cfg.work_dir) / name
    cfg.dump(f'{folder}.py')
    run_tool('test.py', f'{folder}.py', '--tta', '--work-dir', folder, '--out', folder / 'maps')
    (file,) = folder.glob('2*/2*.json')
    return json.loads(file.read_text()), folder / 'maps'


def views(cfg, benchmark):
    """Path -> mean of the scores of both views (classes, H, W), and truth (H, W), one by one."""
    init_default_scope('mmseg')
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.eval().set_background_threshold(benchmark.background_threshold)
    found, truth = {}, {}
    for flip in FLIPS:
        data = DATASETS.build(dict(benchmark.dataset, pipeline=[*START, flip, *END]))
        model.set_class_names(data.metainfo['classes'])
        for item in data:
            with torch.no_grad():
                (sample,) = model.test_step(pseudo_collate([item]))
            found.setdefault(sample.img_path, []).append(sample.seg_logits.data.numpy())
            if flip is FLIPS[0]:
                truth[sample.img_path] = sample.gt_sem_seg.data[0].numpy()
    return {path: (np.mean(found[path], axis=0), truth[path]) for path in found}


def miou(pairs):
    found, truth = (
        np.concatenate([one.ravel() for one in each]) for each in zip(*pairs, strict=True)
    )
    found, truth = found[truth != 255], truth[truth != 255]
    hits = ((found == c, truth == c) for c in np.union1d(found, truth))
    return 100 * np.mean([(a & b).sum() / (a | b).sum() for a, b in hits])


def expected(scored):
    """The metrics of merged scores, counted."""
    labels = [(scores.argmax(0), truth) for scores, truth in scored]
    objects = [
        (scores[1:].argmax(0) + 1, np.where(truth == 0, 255, truth)) for scores, truth in scored
    ]
    best = np.concatenate([scores[1:].max(0).ravel() for scores, _ in scored])
    truth = np.concatenate([truth.ravel() for _, truth in scored])
    inside, outside = best[(truth > 0) & (truth < 255)], np.sort(best[truth == 0])
    above = np.searchsorted(outside, inside) + np.searchsorted(outside, inside, 'right')
    return {
        'mIoU': pytest.approx(miou(labels), abs=0.006),
        'foreground/mIoU': pytest.approx(miou(objects), abs=0.006),
        'per_image/mIoU': pytest.approx(np.mean([miou([pair]) for pair in labels])),
        'object_auc': pytest.approx(above.mean() / 2 / len(outside), abs=1e-3),
    }


def test_all_scores_are_of_the_merged_views(cfg, run_tool):
    metrics, maps = run(run_tool, cfg, 'several')
    for name in cfg.test_cfg.only:
        merged = views(cfg, cfg.test_cfg.benchmarks[name])
        wanted = expected(list(merged.values()))
        assert {key: metrics[f'{name}/{key}'] for key in wanted} == wanted, name
        assert wanted['mIoU'].expected > 0
        for path, (scores, _) in merged.items():
            written = np.asarray(Image.open(maps / name / f'{Path(path).stem}.png'))
            np.testing.assert_array_equal(written, scores.argmax(0))

    alone = cfg.copy()
    alone.test_cfg, alone.custom_hooks = dict(type='TestLoop'), [dict(type='ClassNamesHook')]
    alone.test_dataloader.dataset = cfg.test_cfg.benchmarks.voc21.dataset
    alone.model.background_threshold = cfg.test_cfg.benchmarks.voc21.background_threshold
    metrics_alone, _ = run(run_tool, alone, 'alone')
    assert {key: metrics_alone[key] for key in wanted} == {
        key: metrics[f'voc21/{key}'] for key in wanted
    }
