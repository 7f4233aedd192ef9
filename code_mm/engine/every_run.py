"""What every run gets once code_mm is imported, whichever script starts it."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from functools import wraps
from pathlib import Path

import mmengine.runner.runner
import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.infer import BaseInferencer
from mmengine.runner import Runner, find_latest_checkpoint
from mmseg.models import SegTTAModel
from packaging.version import Version
from torch import nn

from code_mm.atomic_write import atomic_write
from code_mm.evaluation.augmentation import merge_views
from code_mm.weights.mmengine_loader import read_for_mmengine
from code_mm.weights.sources import URL, local_file, public_models, require_file

from .config_check import check_config, read_config
from .config_parts import check_custom_keys, check_parts
from .hooks import CheckpointFitHook

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# Launcher -> its variables for PyTorch's RANK, WORLD_SIZE and LOCAL_RANK.
RANK_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h

# MMEngine's
_setup_env, _wrap_model = Runner.setup_env, Runner.wrap_model
_register_hooks = Runner.register_hooks
_load_model_from_metafile = BaseInferencer._load_model_from_metafile


def prepare_every_run() -> None:
    """Extend MMEngine's ``Runner``, its reading of checkpoints and inferencers, for this process.

    A run follows from its config: with MMEngine's or MMSegmentation's scripts as with ours, its
    keys and files are checked, checkpoints are read as data only, must fit, and are written whole
    or not at all, and several processes work without a GPU. No hook comes before MMEngine starts
    processes and wraps the model, so that three of the Runner's methods are extended instead.
    """
    read_for_mmengine()
    register_backend('local', WholeFiles, force=True, prefixes='')
    SegTTAModel.merge_preds = merge_views
    Runner.setup_env = _check_and_setup_env
    Runner.register_hooks = _register_hooks_and_ours
    Runner.wrap_model = _wrap_model_that_learns
    mmengine.runner.runner.find_latest_checkpoint = newest_checkpoint
    BaseInferencer._load_model_from_metafile = _load_public_model


@wraps(_load_model_from_metafile)
def _load_public_model(inferencer: BaseInferencer, model: str) -> tuple[Config, str | None]:
    """``MMSegInferencer`` looks in the metafiles of one package only, mmseg's; ours come first."""
    entry = public_models().get(model, {})
    if 'Config' not in entry:
        return _load_model_from_metafile(inferencer, model)
    return read_config(entry['Config']), model if 'Weights' in entry else None


@wraps(_setup_env)
def _check_and_setup_env(runner: Runner, env_cfg: dict) -> None:
    cfg = runner.cfg
    check_config(cfg)
    check_parts(cfg)
    load_from = cfg.get('load_from')
    if load_from and not URL.match(load_from):
        local_file(load_from)  # before minutes are spent on building the run
    if get_device() == 'cpu':
        if isinstance(runner.optim_wrapper, dict):
            fuse_where_possible(runner.optim_wrapper)
        if runner.distributed:
            start_cpu_processes(runner.launcher)
            cfg.model_wrapper_cfg = cpu_model_wrapper(cfg)
        if cfg.get('train_cfg'):
            keep_freed_memory()
    _setup_env(runner, env_cfg)
    if fcntl and cfg.get('train_cfg') and is_main_process():
        lock_folder(runner.work_dir)


@wraps(_register_hooks)
def _register_hooks_and_ours(runner: Runner, default_hooks=None, custom_hooks=None) -> None:
    check_custom_keys(runner.cfg, runner.model)
    _register_hooks(runner, default_hooks, custom_hooks)
    runner.register_hook(CheckpointFitHook())


@wraps(_wrap_model)
def _wrap_model_that_learns(runner: Runner, model_wrapper_cfg, model: nn.Module) -> nn.Module:
    """DDP refuses a model without anything to train; there is nothing to synchronise in one."""
    if any(p.requires_grad for p in model.parameters()):
        return _wrap_model(runner, model_wrapper_cfg, model)
    return model.to(get_device())


class WholeFiles(LocalBackend):
    """How MMEngine writes checkpoints: one that a full disk or a kill cuts is not there."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file by :func:`atomic_write`."""
        Path(filepath).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(filepath) as unfinished:
            Path(unfinished).write_bytes(obj)


def newest_checkpoint(folder: str) -> str | None:
    """The checkpoint that ``last_checkpoint`` names, in this folder, which may be a copy."""
    if (saved := find_latest_checkpoint(folder)) is None:
        return None
    if not saved.strip():
        raise ValueError(
            f'expected a path in {folder}/last_checkpoint, but it is empty, as a full disk leaves '
            'it; write that of the newest checkpoint there'
        )
    here = Path(folder, Path(saved).name)
    return str(here) if here.exists() else str(require_file(saved))


def lock_folder(folder: str) -> None:
    """Keep other trainings out of a work folder until this process ends, however it does.

    Raises:
        RuntimeError: Another process trains there.
    """
    lock = os.open(Path(folder, '.lock'), os.O_RDWR | os.O_CREAT)  # stays open
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            return  # a file system without locks
        raise RuntimeError(
            f'expected a work folder that no other run writes to, but {folder} is one of a running '
            'training; wait for its end, or choose another one (--work-dir)'
        ) from error


def fuse_where_possible(optim_wrapper: dict) -> dict:
    """On a CPU no optimizer is fused before torch 2.4; the result is the same without it."""
    optimizer = optim_wrapper.get('optimizer') or {}
    if optimizer.get('fused') and Version(torch.__version__) < Version('2.4'):
        optimizer['fused'] = False
    return optim_wrapper


def start_cpu_processes(launcher: str) -> None:
    """Join this process to its group over gloo, as the launcher's environment variables say.

    MMEngine's own start (``init_dist``) selects a CUDA device; the Runner passes over it where it
    finds a group.
    """
    names = RANK_VARIABLES[launcher]
    missing = [name for name in names if name not in os.environ]
    if int(os.environ.get('SLURM_NNODES', 1)) > 1 and 'MASTER_ADDR' not in os.environ:
        missing.append('MASTER_ADDR (of the first of several machines)')
    if missing:
        raise RuntimeError(
            f'expected the launcher {launcher!r} to set {", ".join(names)}, but got no '
            f'{", ".join(missing)}; start the tool through tools/dist_*.sh, tools/slurm_*.sh or mim'
        )
    rank, world_size, os.environ['LOCAL_RANK'] = (os.environ[name] for name in names)
    os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
    os.environ.setdefault('MASTER_PORT', '29500')  # torch.distributed's own
    if not dist.is_initialized():
        dist.init_process_group('gloo', rank=int(rank), world_size=int(world_size))


def cpu_model_wrapper(cfg: Config) -> dict:
    """``model_wrapper_cfg`` without devices, in place of the Runner's ``[LOCAL_RANK]``."""
    return {
        'type': 'MMDistributedDataParallel',
        'broadcast_buffers': False,
        'find_unused_parameters': cfg.get('find_unused_parameters', False),
        **(cfg.get('model_wrapper_cfg') or {}),
        'device_ids': None,
    }


def keep_freed_memory() -> None:
    """Let glibc keep what is freed, for the next step of the same sizes.

    By default it gives every large block back to the system, and each new one is filled with
    zeros, page by page, at its first touch; with several threads these page faults wait for each
    other (docs/performance.md has the effect). The process keeps its peak memory until it ends.
    Nothing is done where the user chose another allocator, or set glibc's own variables.
    """
    chosen = os.environ.get('LD_PRELOAD') or 'malloc' in os.environ.get('GLIBC_TUNABLES', '')
    if chosen or any(name.startswith('MALLOC_') for name in os.environ):
        return
    if platform.libc_ver()[0] == 'glibc':
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)  # never
