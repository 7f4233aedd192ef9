"""MIM finds the tools, configs and model index of the installed package."""

import json
import shutil
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MIM = shutil.which('mim', path=str(Path(sys.executable).parent))
if any(metadata.distributions(name='openmim')):
    MIM = None  # OpenMMLab's finds no editable install
pytestmark = pytest.mark.skipif(MIM is None, reason='no mim that finds an editable install')


@pytest.fixture(scope='module')
def mim(run):
    return lambda *args: run(MIM, *args)


@pytest.fixture(scope='module')
def trained(workplace, mim):
    two = ['--launcher', 'pytorch', '--gpus', '2']
    log = mim('train', 'code_mm', 'tiny.py', *two, '--work-dir', 'mim_train')
    assert 'GPU number: 2' in log
    assert 'Training finished successfully' in log
    return workplace / 'mim_train' / 'iter_2.pth'


def test_mim_trains_in_two_processes_and_tests(workplace, mim, trained):
    log = mim('test', 'code_mm', 'tiny.py', '--checkpoint', trained, '--work-dir', 'mim_test')
    assert 'Testing finished successfully' in log
    (file,) = (workplace / 'mim_test').glob('2*/2*.json')
    assert 0 <= json.loads(file.read_text())['mIoU'] <= 100


def test_mim_reads_the_model_index(workplace, mim):
    mim('search', 'code_mm', '--json', 'models.json')
    models = json.loads((workplace / 'models.json').read_text())
    assert models['config']['code_cc12m'] == 'configs/code_cc12m.py'
