"""A model without anything to train is evaluated under every launcher as by one process."""

import os

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from tiny_configs import load, shrink


def evaluate(file):
    init_default_scope('mmseg')
    if rank := os.environ.get('RANK'):  # in one of two processes, which ends after this
        os.environ.update(SLURM_PROCID=rank, SLURM_LOCALID=rank, SLURM_NTASKS='2')
    metrics = Runner.from_cfg(Config.fromfile(file)).test()
    return {key: value for key, value in metrics.items() if 'time' not in key}


def test_two_processes_measure_what_one_does(world, tmp_path, run_in_two_processes):
    cfg = shrink(load('eval/maskclip_vit-b16_ade20k.py'), world.clip)
    loader = dict(num_workers=0, persistent_workers=False)
    loader['dataset.data_root'] = str(world.folder / 'ade')  # three images for two processes
    cfg.merge_from_dict({f'test_dataloader.{key}': value for key, value in loader.items()})
    cfg.work_dir = str(tmp_path / 'run')
    cfg.dump(tmp_path / 'one.py')
    one = evaluate(tmp_path / 'one.py')
    assert 'mIoU' in one
    for cfg.launcher in ('pytorch', 'slurm'):
        cfg.dump(tmp_path / 'two.py')
        assert run_in_two_processes(evaluate, str(tmp_path / 'two.py')) == [one, one]
