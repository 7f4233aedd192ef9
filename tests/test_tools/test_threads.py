"""OpenMP's threads sleep while they wait, whatever loads torch; the user's own setting wins."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


PROGRAMS = (
    'import code_mm',
    'import model_options, code_mm',
    "import runner_options as r; r.load_config(r.make_parser('').parse_args(['nowhere.py']))",
)


@pytest.mark.parametrize('program', PROGRAMS)
@pytest.mark.parametrize('chosen', [{}, {'OMP_WAIT_POLICY': 'active'}])
def test_waiting_threads_leave_their_core(program, chosen):
    environment = {k: v for k, v in os.environ.items() if k != 'OMP_WAIT_POLICY'}
    environment.update(chosen, OMP_DISPLAY_ENV='true', PYTHONPATH=f'{TOOLS}:{TOOLS.parent}')
    told = subprocess.run(
        [sys.executable, '-c', program], env=environment, capture_output=True
    ).stderr.decode()
    if 'OMP_WAIT_POLICY' not in told:
        pytest.skip('torch was not built with GNU OpenMP')
    assert f"OMP_WAIT_POLICY = '{'ACTIVE' if chosen else 'PASSIVE'}'" in told
