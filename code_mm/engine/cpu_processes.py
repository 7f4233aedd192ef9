"""Several processes on a machine without a GPU."""

import os

import torch.distributed as dist
from mmengine.config import Config
from mmengine.device import get_device

# Launcher -> the environment variables that hold rank, number of processes, rank on this machine.
RANK_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}
DEFAULT_PORT = '29500'  # torch.distributed's own


def start_cpu_processes(cfg: Config) -> None:
    """Joins this process to its group over gloo where there is no accelerator.

    MMEngine's own start (``init_dist``) selects a CUDA device, and its Runner
    wraps the model with ``device_ids=[LOCAL_RANK]``; both fail on a CPU. So the
    group is made here, before the Runner, which then finds it; and the wrapper
    is configured without devices. Does nothing with an accelerator, or
    with ``launcher='none'``.

    Args:
        cfg: Config with ``launcher`` set. ``model_wrapper_cfg`` is completed
            in place: its own keys stay, ``find_unused_parameters`` is taken
            from the top level as the Runner does.

    Raises:
        RuntimeError: If the launcher's environment variables are missing, or
            several machines are used and ``MASTER_ADDR`` is not set.
    """
    if cfg.get('launcher', 'none') == 'none' or get_device() != 'cpu':
        return
    rank, world_size, local_rank = _read_ranks(cfg.launcher)
    os.environ['LOCAL_RANK'] = str(local_rank)
    if int(os.environ.get('SLURM_NNODES', 1)) > 1 and 'MASTER_ADDR' not in os.environ:
        raise RuntimeError(
            'expected MASTER_ADDR to name the first machine, but got none; several machines '
            'without a GPU cannot find each other otherwise: export MASTER_ADDR'
        )
    os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
    os.environ.setdefault('MASTER_PORT', DEFAULT_PORT)
    if not dist.is_initialized():
        dist.init_process_group('gloo', rank=rank, world_size=world_size)
    cfg.model_wrapper_cfg = {
        'type': 'MMDistributedDataParallel',
        'broadcast_buffers': False,
        'find_unused_parameters': cfg.get('find_unused_parameters', False),
        **(cfg.get('model_wrapper_cfg') or {}),
        'device_ids': None,
    }


def _read_ranks(launcher: str) -> tuple[int, ...]:
    names = RANK_VARIABLES[launcher]
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise RuntimeError(
            f'expected the launcher {launcher!r} to set {", ".join(names)}, but got no '
            f'{", ".join(missing)}; start the tool through tools/dist_*.sh, tools/slurm_*.sh or mim'
        )
    return tuple(int(os.environ[name]) for name in names)
