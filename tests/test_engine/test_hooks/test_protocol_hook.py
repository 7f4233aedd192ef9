"""The hook in whole runs of a tiny MaskCLIP, with one data set and with several."""

import json

import pytest
import torch
from miniature_benchmarks import make_miniature
from mmengine.hooks import Hook
from mmengine.runner import Runner
from tiny_configs import load, shrink
from tiny_model import openai_state, tiny_clip

from code_mm.datasets.benchmarks.table import BENCHMARKS
from code_mm.evaluation.protocol import class_names_sha256
from code_mm.vocabulary import ClassNameFile
from code_mm.weights import weights_sha256
from projects.dense_clip.sclip_protocol import CLASS_NAMES


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp('protocol')
    save_file(openai_state(tiny_clip()), folder / 'clip.safetensors')
    return folder


class Doubled(Hook):
    """Exchanges the weights for those of the evaluation, as EMAHook does."""

    def before_test_epoch(self, runner):
        runner.model.decode_head.similarity_to_mask.scale.data.mul_(2)

    def after_test_epoch(self, runner, metrics=None):
        runner.model.decode_head.similarity_to_mask.scale.data.div_(2)


def run(files, tmp_path, name, benchmarks, config=None, **keys):
    one_or_all = 'all' if name == 'all' else 'ade20k'
    config = config or f'eval/maskclip_vit-b16_{one_or_all}.py'
    cfg = shrink(load(config), files / 'clip.safetensors')
    cfg.test_dataloader.num_workers = 0
    cfg.test_dataloader.persistent_workers = False
    roots = {b: make_miniature(b, tmp_path / 'data', 1) for b in benchmarks}
    if name == 'all':
        cfg.test_cfg.only = list(benchmarks)
        for benchmark, root in roots.items():
            cfg.test_cfg.benchmarks[benchmark].dataset.data_root = str(root)
    else:
        known = BENCHMARKS[name]
        cfg.test_dataloader.dataset.update(known.dataset_config(), data_root=str(roots[name]))
        cfg.model.background_threshold = known.background_threshold
    cfg.work_dir, cfg.experiment_name = str(tmp_path), str(tmp_path).replace('/', '_')
    cfg.merge_from_dict(keys)
    runner = Runner.from_cfg(cfg)
    runner.register_hook(Doubled())
    metrics = runner.test()
    (folder,) = tmp_path.glob('2*/results')
    assert sorted(p.name for p in folder.iterdir()) == ['test.json', 'test.md']
    record = json.loads((folder / 'test.json').read_text())
    return runner, metrics, record, (folder / 'test.md').read_text()


def test_one_data_set(files, tmp_path):
    """Of a training config, whose training data is not asked for; and without a checkpoint."""
    missing = dict(
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        train_dataloader=dict(
            batch_size=1,
            sampler=dict(type='InfiniteSampler'),
            dataset=dict(type='CaptionShardsDataset', shards=str(tmp_path / 'none/*.tar')),
        ),
    )
    runner, metrics, record, text = run(files, tmp_path, 'voc21', ['voc21'], **missing)
    assert list(record['benchmarks']) == ['voc21']
    part = record['benchmarks']['voc21']
    assert part['metrics'] == metrics
    assert (part['dataset']['type'], part['dataset']['images']) == ('PascalVOCDataset', 1)
    names = runner.test_dataloader.dataset.metainfo['classes']
    checksum = class_names_sha256(names)
    assert part['model']['class_names_sha256'] == checksum
    assert part['model']['background_threshold'] == 0.4
    # the weights of the config's init_cfg
    state = runner.model.backbone.state_dict()
    for name, value in tiny_clip().state_dict().items():
        assert torch.equal(state[name], value), name
    weights = record['weights']
    assert weights['init_cfg'] == [str(files / 'clip.safetensors')]
    assert weights['iteration'] is None
    # what was evaluated, not what is there afterwards
    scale = runner.model.decode_head.similarity_to_mask.scale
    assert part['model']['scale'] == 2 * scale.item()
    assert weights['sha256'] != weights_sha256(runner.model)
    scale.data.mul_(2)
    assert weights['sha256'] == weights_sha256(runner.model)
    assert record['config'].endswith('maskclip_vit-b16_ade20k.py')
    (row,) = record['table']
    assert (row['mIoU'], row['CoDe, published']) == (metrics['mIoU'], 57.7)
    # what was made small for this test departs from the protocol that the config names
    assert record['protocol'] == 'code'
    assert [text.split()[0] for text in part['departures']] == [
        'resize.scale',
        'window.crop_size',
        'window.stride',
    ]
    # and for people, in the file and in the log
    assert text.startswith('| benchmark | images | mIoU | CoDe, published | TCL, published | aAcc')
    for line in (
        f'weights: sha256 {weights["sha256"]} (from {files}/clip.safetensors)',
        'number of classes: 21',
        f'class_names_sha256: {checksum}',
        'class_names_from: data set',
        'background_threshold: 0.4',
        f'protocol: code\n  - voc21 departs from it: {part["departures"][0]}',
    ):
        assert f'- {line}\n' in text
    assert 'Columns marked as published: thesis Table 4.1' in text
    (log,) = tmp_path.glob('2*/2*.log')
    assert log.read_text().count(text) == 1


def test_several_data_sets(files, tmp_path):
    keys = {'default_hooks.protocol.published': ['SimSeg']}
    _, metrics, record, text = run(files, tmp_path, 'all', ['cityscapes', 'context60'], **keys)
    parts = record['benchmarks']
    assert list(parts) == ['cityscapes', 'context60']
    assert parts['context60']['metrics']['mIoU'] == metrics['context60/mIoU']
    assert [parts[b]['model']['background_threshold'] for b in parts] == [None, 0.4]
    assert [len(parts[b]['model']['class_names']) for b in parts] == [19, 60]
    rows = record['table']
    assert [row['benchmark'] for row in rows] == ['cityscapes', 'context60', 'mean of all 2']
    assert [row.get('SimSeg, published') for row in rows] == [None, 26.2, None]
    assert text.count('- templates: ') == 1  # the same for both
    assert '- background_threshold:\n  - cityscapes: none\n  - context60: 0.4\n' in text


def test_class_name_files_and_their_checksums(files, tmp_path):
    benchmarks = ['voc21', 'cityscapes', 'coco_object']
    config = 'projects/dense_clip/configs/maskclip_vit-b16_sclip-protocol.py'
    runner, _, record, text = run(files, tmp_path, 'all', benchmarks, config)
    assert record['protocol'] == 'sclip'
    for benchmark in benchmarks:
        file = ClassNameFile.read(CLASS_NAMES / f'sclip_{benchmark}.txt')
        part = record['benchmarks'][benchmark]['model']
        assert part['class_names'] == list(file.names)
        assert part['class_names_from']['sha256'] == file.sha256
        assert f'sclip_{benchmark}.txt", "sha256": "{file.sha256}"' in text
        assert len(part['templates']) == 80
        assert part['background_threshold'] is part['post_processor'] is None
    # figures that were published under the other protocol do not stand beside these
    assert 'published' not in text.splitlines()[0]
    assert record['benchmarks']['cityscapes']['departures'][0].startswith('resize.scale [64, 32]')
    assert runner.model.decode_head.name_scores.scale == 40.0  # that of the model again
