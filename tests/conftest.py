"""Fixtures of all tests."""

import sys
from pathlib import Path

import pytest

# Test files are not importable by name (importmode=importlib), but the processes that
# `run_in_two_processes` starts must find its own module.
sys.path.insert(0, str(Path(__file__).parent))

import two_processes


@pytest.fixture(scope='session')
def run_in_two_processes():
    """``run_in_two_processes(fn, *args)`` -> results of rank 0 and rank 1, see two_processes.py."""
    return two_processes.run_in_two_processes
