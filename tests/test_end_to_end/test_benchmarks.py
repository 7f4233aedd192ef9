"""Each benchmark's miniature through tools/test.py: the score follows from the maps it writes."""

import json

import numpy as np
import pytest
import torch
from miniature_benchmarks import NAMES, make_miniature, true_labels
from PIL import Image
from tiny_configs import load, shrink
from tiny_model import tiny_code

WITH_BACKGROUND = ('voc21', 'context60', 'coco_object')


def evaluate(world, run_tool, name, method, folder):
    """Run tools/test.py on the benchmark's own config; the metrics and the data set's config."""
    cfg = shrink(load(f'eval/{method}_vit-b16_{name}.py'), world.clip)
    data_root = make_miniature(name, folder)
    loader = 'test_dataloader'
    cfg.merge_from_dict({f'{loader}.num_workers': 0, f'{loader}.persistent_workers': False})
    cfg.merge_from_dict({f'{loader}.dataset.data_root': str(data_root)})
    cfg.dump(folder / 'config.py')
    weights = []
    if method == 'code':
        model = tiny_code(seed=3, decode_head=cfg.model.decode_head)
        torch.save(dict(state_dict=model.state_dict(), meta={}), folder / 'code.pth')
        weights = [folder / 'code.pth']
    options = ['--work-dir', folder / 'work', '--out', folder / 'out']
    run_tool('test.py', folder / 'config.py', *weights, *options)
    (file,) = (folder / 'work').glob('2*/2*.json')
    return json.loads(file.read_text()), dict(cfg.test_dataloader.dataset, data_root=data_root)


def label_files(name, dataset):
    folder = dataset['data_root'] / dataset['data_prefix']['seg_map_path']
    suffix = dict(
        coco_object='_instanceTrainIds.png',
        coco_stuff='_labelTrainIds.png',
        cityscapes='_gtFine_labelTrainIds.png',
    ).get(name, '.png')
    stem = '{}_leftImg8bit' if name == 'cityscapes' else '{}'
    return {stem.format(p.name.removesuffix(suffix)): p for p in folder.rglob(f'*{suffix}')}


@pytest.mark.parametrize('number', range(len(NAMES)), ids=NAMES)
def test_the_score_is_that_of_the_maps(world, run_tool, tmp_path, number):
    name, method = NAMES[number], ('code', 'maskclip')[number % 2]
    metrics, dataset = evaluate(world, run_tool, name, method, tmp_path)
    files = label_files(name, dataset)
    written = {path.stem: path for path in (tmp_path / 'out').glob('*.png')}
    assert len(files) == 3
    assert written.keys() == files.keys()
    # the maps count from 1 where the label files do
    first = 1 if name in ('voc20', 'context59', 'ade20k') else 0
    hits, either = np.zeros(256), np.zeros(256)
    for key, path in files.items():
        truth = true_labels(name, path)
        guess = np.asarray(Image.open(written[key])).astype(int) - first
        assert guess.shape == truth.shape
        for label in range(255):
            both = (guess == label) & (truth == label)
            hits[label] += both.sum()
            either[label] += (((guess == label) | (truth == label)) & (truth != 255)).sum()
    counted = either > 0
    assert metrics['mIoU'] == pytest.approx(
        100 * (hits[counted] / either[counted]).mean(), abs=0.006
    )
