"""All eight settings in miniature, in one run: in one process and in two."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from miniature_benchmarks import NAMES, make_miniature
from mmseg.registry import DATASETS
from PIL import Image
from tiny_configs import load, shrink
from tiny_model import randomise

from code_mm.datasets.benchmarks.table import BENCHMARKS
from code_mm.registry import MODELS

# Uneven in two processes; a benchmark with fewer images than processes among them.
COUNTS = dict(zip(NAMES, (3, 2, 3, 1, 3, 2, 3, 3), strict=True))


@pytest.fixture(scope='module')
def folder(world, tmp_path_factory):
    """Folder with all.py, the config of all eight on miniatures, and code.pth, a checkpoint."""
    folder = tmp_path_factory.mktemp('all')
    cfg = shrink(load('eval/code_vit-b16_all.py'), world.clip)
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.model.decode_head.post_processor.dilations = (1, 2)  # quick
    for name, keys in cfg.test_cfg.benchmarks.items():
        keys.dataset.data_root = str(make_miniature(name, folder, COUNTS[name]))
    cfg.dump(folder / 'all.py')
    model = MODELS.build(cfg.model)
    model.init_weights()
    randomise(model, seed=3, std=0.05)
    torch.save(dict(state_dict=model.state_dict(), meta={}), folder / 'code.pth')
    return folder


def results(work_dir):
    """Metrics and record of a run."""
    (file,) = work_dir.glob('2*/2*.json')
    (record,) = work_dir.glob('2*/results/test.json')
    metrics = json.loads(file.read_text())
    return {k: v for k, v in metrics.items() if 'time' not in k}, json.loads(record.read_text())


def test_one_process_and_two(folder, run_tool, run_script):
    files, work_dir = (folder / 'all.py', folder / 'code.pth'), folder / 'one'
    run_tool('test.py', *files, '--work-dir', work_dir, '--out', folder / 'maps')
    metrics, record = results(work_dir)
    for name in NAMES:
        counted = miou(name, folder / name, folder / 'maps' / name)
        assert metrics[f'{name}/mIoU'] == pytest.approx(counted, abs=0.006), name
    values = [metrics[f'{name}/mIoU'] for name in NAMES]
    assert len(set(values)) >= 4
    assert metrics['mean/mIoU'] == pytest.approx(sum(values) / 8)
    rows = {row['benchmark']: row for row in record['table']}
    six = [metrics[f'{name}/mIoU'] for name in NAMES if name not in ('voc20', 'context59')]
    assert rows['mean of the six']['mIoU'] == pytest.approx(sum(six) / 6)
    assert rows['mean of the six']['CoDe, published'] == 31.8

    run_script('dist_test.sh', *files, 2, '--work-dir', folder / 'two')
    metrics_of_two, record_of_two = results(folder / 'two')
    assert metrics_of_two == metrics
    assert record_of_two['processes'] == 2
    assert record_of_two['benchmarks'] == record['benchmarks']
    assert record_of_two['weights']['sha256'] == record['weights']['sha256']


def miou(name, place, maps):
    """mIoU, counted from the predictions and the label files."""
    cfg = BENCHMARKS[name].dataset_config()
    data_root = place / cfg['data_root'].removeprefix('data/')
    dataset = DATASETS.build(dict(cfg, data_root=str(data_root), pipeline=[]))
    assert len(dataset) == len(list(maps.glob('*.png'))) == COUNTS[name]
    pixels = []
    for info in map(dataset.get_data_info, range(len(dataset))):
        files = maps / f'{Path(info["img_path"]).stem}.png', info['seg_map_path']
        pixels.append([np.asarray(Image.open(file)).ravel() for file in files])
    found, truth = np.concatenate(pixels, axis=1)
    # where 0 is "everything else", predictions count from 1, too
    known = (truth != 255) & (truth >= info['reduce_zero_label'])
    found, truth = found[known], truth[known]
    hits = ((found == c, truth == c) for c in np.union1d(found, truth))
    return 100 * np.mean([(a & b).sum() / (a | b).sum() for a, b in hits])
