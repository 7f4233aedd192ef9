"""All eight settings in miniature, in one run: in one process and in two."""

import json

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
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp('benchmarks')
    return {name: make_miniature(name, folder, COUNTS[name]) for name in NAMES}


@pytest.fixture(scope='module')
def files(world, tmp_path_factory):
    """Folder of the tiny configs and of a checkpoint."""
    folder = tmp_path_factory.mktemp('all')
    model = MODELS.build(shrink(load('eval/code_vit-b16_all.py'), world.clip).model)
    model.init_weights()
    randomise(model, seed=3, std=0.05)
    torch.save(dict(state_dict=model.state_dict(), meta={}), folder / 'code.pth')
    return folder


@pytest.fixture(scope='module')
def all_config(world, files, roots):
    """The config of all eight, as a file."""
    cfg = shrink(load('eval/code_vit-b16_all.py'), world.clip)
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.model.decode_head.post_processor.dilations = (1, 2)  # quick
    for name, root in roots.items():
        cfg.test_cfg.benchmarks[name].dataset.data_root = str(root)
    cfg.dump(files / 'all.py')
    return files / 'all.py'


def metrics_in(work_dir):
    (file,) = work_dir.glob('2*/2*.json')
    return {k: v for k, v in json.loads(file.read_text()).items() if 'time' not in k}


def label_maps(folder):
    files = sorted(folder.glob('*.png'))
    return {file.name: np.asarray(Image.open(file)) for file in files}


@pytest.fixture(scope='module')
def together(all_config, files, run_tool):
    """Metrics, predictions and record of the run over all eight."""
    folder = files / 'together'
    options = ('--work-dir', folder, '--out', folder / 'out')
    run_tool('test.py', all_config, files / 'code.pth', *options)
    (record,) = folder.glob('2*/results/test.json')
    return metrics_in(folder), folder / 'out', json.loads(record.read_text())


@pytest.mark.parametrize('name', NAMES)
def test_scores_are_what_the_pixels_say(roots, together, name):
    metrics, out, _ = together
    maps = label_maps(out / name)
    assert len(maps) == COUNTS[name]
    dataset = dict(BENCHMARKS[name].dataset_config(), data_root=str(roots[name]))
    assert metrics[f'{name}/mIoU'] == pytest.approx(counted(dataset, maps), abs=0.006)


def counted(dataset_cfg, maps):
    """mIoU, counted from the predictions and the label files."""
    dataset = DATASETS.build({**dataset_cfg, 'pipeline': []})
    classes = len(dataset.metainfo['classes'])
    both, either = np.zeros(classes), np.zeros(classes)
    for number in range(len(dataset)):
        info = dataset.get_data_info(number)
        # where 0 is "everything else", labels and predictions count from 1
        first = int(info['reduce_zero_label'])
        stem = info['img_path'].rsplit('/', 1)[1].rsplit('.', 1)[0]
        found = maps[f'{stem}.png'].astype(int) - first
        truth = np.asarray(Image.open(info['seg_map_path'])).astype(int)
        known = (truth != 255) & (truth >= first)
        truth = truth - first
        for label in range(classes):
            a, b = (found == label) & known, (truth == label) & known
            both[label] += (a & b).sum()
            either[label] += (a | b).sum()
    return 100 * (both[either > 0] / either[either > 0]).mean()


def test_the_scores_are_not_all_alike(together):
    metrics = together[0]
    values = [metrics[f'{name}/mIoU'] for name in NAMES]
    assert len(set(values)) >= 4
    assert metrics['mean/mIoU'] == pytest.approx(sum(values) / 8)
    rows = {row['benchmark']: row for row in together[2]['table']}
    six = [metrics[f'{name}/mIoU'] for name in NAMES if name not in ('voc20', 'context59')]
    assert rows['mean of the six']['mIoU'] == pytest.approx(sum(six) / 6)
    assert rows['mean of the six']['CoDe, published'] == 31.8


def test_two_processes(all_config, files, run_script, together):
    folder = files / 'two'
    run_script('dist_test.sh', all_config, files / 'code.pth', 2, '--work-dir', folder)
    assert metrics_in(folder) == together[0]
    (record,) = folder.glob('2*/results/test.json')
    record = json.loads(record.read_text())
    assert record['processes'] == 2
    assert record['benchmarks'] == together[2]['benchmarks']
    assert record['weights']['sha256'] == together[2]['weights']['sha256']
