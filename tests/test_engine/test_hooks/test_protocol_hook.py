"""The hook in whole runs of a tiny MaskCLIP, with one data set and with several."""

import json

import torch
from miniature_benchmarks import make_miniature
from mmengine.hooks import Hook
from mmengine.runner import Runner
from safetensors.torch import save_file
from tiny_configs import load, shrink
from tiny_model import openai_state, tiny_clip

from code_mm.datasets.benchmarks.table import BENCHMARKS
from code_mm.evaluation.protocol import class_names_sha256
from code_mm.vocabulary import ClassNameFile
from code_mm.weights import weights_sha256
from projects.dense_clip.sclip_protocol import CLASS_NAMES


class Doubled(Hook):
    """Exchanges the weights for those of the evaluation, as EMAHook does."""

    def before_test_epoch(self, runner):
        runner.model.decode_head.similarity_to_mask.scale.data.mul_(2)

    def after_test_epoch(self, runner, metrics=None):
        runner.model.decode_head.similarity_to_mask.scale.data.div_(2)


def run(config, tmp_path, change):
    """Test by a config, after ``change(cfg)``: runner, metrics, record and page."""
    save_file(openai_state(tiny_clip()), tmp_path / 'clip.safetensors')
    cfg = shrink(load(config), tmp_path / 'clip.safetensors')
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.work_dir, cfg.experiment_name = str(tmp_path), str(tmp_path).replace('/', '_')
    change(cfg)
    runner = Runner.from_cfg(cfg)
    runner.register_hook(Doubled())
    metrics = runner.test()
    (folder,) = tmp_path.glob('2*/results')
    assert sorted(p.name for p in folder.iterdir()) == ['test.json', 'test.md']
    record = json.loads((folder / 'test.json').read_text())
    return runner, metrics, record, (folder / 'test.md').read_text()


def test_one_data_set(tmp_path):
    """Of a training config, whose training data is not asked for; and without a checkpoint."""

    def change(cfg):
        cfg.merge_from_dict(
            dict(
                train_cfg=dict(type='IterBasedTrainLoop', max_iters=1),
                optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
                train_dataloader=dict(
                    batch_size=1,
                    sampler=dict(type='InfiniteSampler'),
                    dataset=dict(type='CaptionShardsDataset', shards=str(tmp_path / 'none/*.tar')),
                ),
            )
        )
        root = str(make_miniature('voc21', tmp_path / 'data', 1))
        cfg.test_dataloader.dataset.update(BENCHMARKS['voc21'].dataset_config(), data_root=root)
        cfg.model.background_threshold = 0.4
        cfg.default_hooks.protocol.published = ['CoDe', 'SimSeg']

    runner, metrics, record, text = run('eval/maskclip_vit-b16_ade20k.py', tmp_path, change)
    assert list(record['benchmarks']) == ['voc21']
    part = record['benchmarks']['voc21']
    assert part['metrics'] == metrics
    assert (part['dataset']['type'], part['dataset']['images']) == ('PascalVOCDataset', 1)
    checksum = class_names_sha256(runner.test_dataloader.dataset.metainfo['classes'])
    assert part['model']['class_names_sha256'] == checksum
    # the weights of the config's init_cfg
    state = runner.model.backbone.state_dict()
    for name, value in tiny_clip().state_dict().items():
        assert torch.equal(state[name], value), name
    weights = record['weights']
    assert weights['init_cfg'] == [str(tmp_path / 'clip.safetensors')]
    assert weights['iteration'] is None
    # what was evaluated, not what is there afterwards
    scale = runner.model.decode_head.similarity_to_mask.scale
    assert part['model']['scale'] == 2 * scale.item()
    assert weights['sha256'] != weights_sha256(runner.model)
    scale.data.mul_(2)
    assert weights['sha256'] == weights_sha256(runner.model)
    assert record['config'].endswith('maskclip_vit-b16_ade20k.py')
    (row,) = record['table']
    assert (row['CoDe, published'], row['SimSeg, published']) == (57.7, 57.4)
    # what was made small for this test departs from the protocol that the config names
    assert record['protocol'] == 'code'
    keys = [text.split()[0] for text in part['departures']]
    assert keys == ['resize.scale', 'window.crop_size', 'window.stride']
    # and for people, in the file and in the log
    assert text.startswith('| benchmark | images | mIoU | CoDe, published | SimSeg, published | aA')
    for line in (
        f'weights: sha256 {weights["sha256"]} (from {tmp_path}/clip.safetensors)',
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


def test_several_data_sets_with_files_of_class_names(tmp_path):
    benchmarks = ['voc21', 'cityscapes', 'coco_object']

    def change(cfg):
        cfg.test_cfg.only = benchmarks
        for name in benchmarks:
            root = str(make_miniature(name, tmp_path / 'data', 1))
            cfg.test_cfg.benchmarks[name].dataset.data_root = root

    config = 'projects/dense_clip/configs/maskclip_vit-b16_sclip-protocol.py'
    runner, metrics, record, text = run(config, tmp_path, change)
    assert record['protocol'] == 'sclip'
    assert list(record['benchmarks']) == benchmarks
    for name, part in record['benchmarks'].items():
        assert part['metrics']['mIoU'] == metrics[f'{name}/mIoU']
        file, model = ClassNameFile.read(CLASS_NAMES / f'sclip_{name}.txt'), part['model']
        assert model['class_names'] == list(file.names)
        assert model['class_names_from']['sha256'] == file.sha256
        assert f'sclip_{name}.txt", "sha256": "{file.sha256}"' in text
        assert f'\n  - {name}: {len(file.names)}\n' in text
        assert part['departures'][0].startswith('resize.scale [64, 32]')
    assert text.count('- templates: ') == 1  # the same for all
    # figures that were published under the other protocol do not stand beside these
    assert 'published' not in text.splitlines()[0]
    assert runner.model.decode_head.name_scores.scale == 40.0  # that of the model again
