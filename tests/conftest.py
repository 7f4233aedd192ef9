"""Fixtures of all tests."""

import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope

# Test files are not importable by name (importmode=importlib), but the processes that
# `run_in_two_processes` starts must find its own module.
sys.path.insert(0, str(Path(__file__).parent))
# what stands beside the tools is imported from there
sys.path.append(str(Path(__file__).parents[1] / 'tools' / 'dataset_converters'))

import two_processes
from caption_files import (  # noqa: F401
    image_bytes,
    photo_captions,
    photo_folder,
    web_server,
    write_pairs,
    write_tar,
)
from torch_release import IS_OLD


def pytest_collection_modifyitems(items):
    """On a CPU older releases of torch know little of float16: no autocast, no matrix product."""
    if not IS_OLD:
        return
    for item in items:
        values = item.callspec.params.values() if hasattr(item, 'callspec') else ()
        if any(value is torch.float16 for value in values):
            item.add_marker(pytest.mark.skip('float16 on a CPU needs a newer torch'))


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
