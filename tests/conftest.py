"""Fixtures of all tests."""

import os
import sys
from pathlib import Path

import pytest
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader

# Test files are not importable by name (importmode=importlib), but the processes that
# `run_in_two_processes` starts must find its own module.
sys.path.insert(0, str(Path(__file__).parent))

import two_processes
from caption_files import (  # noqa: F401
    image_bytes,
    photo_captions,
    photo_folder,
    web_server,
    write_pairs,
    write_tar,
)

# before any fixture runs a tool, which changes both
MMENGINE_READERS = dict(CheckpointLoader._schemes)
SAFE_PICKLE = ('TORCH_FORCE_WEIGHTS_ONLY_LOAD', os.environ.get('TORCH_FORCE_WEIGHTS_ONLY_LOAD'))


@pytest.fixture(scope='session')
def run_in_two_processes():
    """``run_in_two_processes(fn, *args)`` -> results of rank 0 and rank 1, see two_processes.py."""
    return two_processes.run_in_two_processes


@pytest.fixture(scope='session', autouse=True)
def mmseg_scope_from_the_start():
    """The default scope of our configs for the fixtures of whole files, too."""
    init_default_scope('mmseg')


@pytest.fixture(autouse=True)
def mmseg_scope():
    """The default scope of our configs, whatever scope an earlier test's Runner left behind."""
    init_default_scope('mmseg')
    yield
    init_default_scope('mmseg')  # for the wider fixtures of the next test


@pytest.fixture(autouse=True)
def mmengine_reads_checkpoints(monkeypatch):
    """MMEngine's own readers again after a test, or a wider fixture, ran a tool in this process."""
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(MMENGINE_READERS))
    name, value = SAFE_PICKLE
    if value is None:
        os.environ.pop(name, None)  # for good: monkeypatch would put back what a fixture left
    else:
        os.environ[name] = value
