"""What is decided before a group of CPU processes is joined (joining: tests/test_tools)."""

import pytest
import torch.distributed as dist
from mmengine.config import Config

from code_mm.engine import cpu_processes
from code_mm.engine.cpu_processes import start_cpu_processes

VARIABLES = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT', 'SLURM_NNODES')


@pytest.fixture
def joined(monkeypatch):
    """Records what the group would be joined with; starts no group."""
    calls = []
    for name in VARIABLES:
        monkeypatch.setenv(name, '')  # so that whatever is set below is undone afterwards
        monkeypatch.delenv(name)
    monkeypatch.setattr(cpu_processes, 'get_device', lambda: 'cpu')
    monkeypatch.setattr(dist, 'is_initialized', lambda: False)
    monkeypatch.setattr(dist, 'init_process_group', lambda *a, **k: calls.append((a, k)))
    return calls


def test_ranks_come_from_the_launcher(joined, monkeypatch):
    ranks = {'SLURM_PROCID': '3', 'SLURM_NTASKS': '4', 'SLURM_LOCALID': '1'}
    for name, value in ranks.items():
        monkeypatch.setenv(name, value)
    start_cpu_processes(Config({'launcher': 'slurm'}))
    assert joined == [(('gloo',), {'rank': 3, 'world_size': 4})]


def test_the_wrapper_gets_no_devices_and_keeps_its_own_keys(joined, monkeypatch):
    for name, value in {'RANK': '0', 'WORLD_SIZE': '2', 'LOCAL_RANK': '0'}.items():
        monkeypatch.setenv(name, value)
    cfg = Config({'launcher': 'pytorch', 'find_unused_parameters': True})
    start_cpu_processes(cfg)
    expected = {
        'type': 'MMDistributedDataParallel',
        'broadcast_buffers': False,
        'find_unused_parameters': True,
        'device_ids': None,
    }
    assert cfg.model_wrapper_cfg == expected

    cfg.model_wrapper_cfg = {'detect_anomalous_params': True, 'device_ids': [0]}
    start_cpu_processes(cfg)
    assert cfg.model_wrapper_cfg == {**expected, 'detect_anomalous_params': True}


def test_one_process_or_a_gpu_changes_nothing(joined, monkeypatch):
    for device, launcher in (('cpu', 'none'), ('cuda', 'pytorch')):
        monkeypatch.setattr(cpu_processes, 'get_device', lambda device=device: device)
        cfg = Config({'launcher': launcher})
        start_cpu_processes(cfg)
        assert 'model_wrapper_cfg' not in cfg
    assert joined == []


def test_a_launcher_that_did_not_launch_is_told(joined):
    with pytest.raises(RuntimeError, match=r'got no RANK, WORLD_SIZE, LOCAL_RANK.*dist_\*\.sh'):
        start_cpu_processes(Config({'launcher': 'pytorch'}))


def test_several_machines_need_an_address(joined, monkeypatch):
    for name in ('SLURM_PROCID', 'SLURM_LOCALID'):
        monkeypatch.setenv(name, '0')
    monkeypatch.setenv('SLURM_NTASKS', '2')
    monkeypatch.setenv('SLURM_NNODES', '2')
    with pytest.raises(RuntimeError, match='export MASTER_ADDR'):
        start_cpu_processes(Config({'launcher': 'slurm'}))
