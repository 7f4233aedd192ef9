"""What tools/install.py would do to an environment; nothing is installed here."""

import subprocess
import sys
import types
from pathlib import Path

import install
import pytest

ROOT = Path(install.__file__).resolve().parents[1]


def test_torch_comes_first_and_what_the_user_has_is_kept():
    def names(*has):
        return [Path(step[-1]).name for step in install.plan(has=has.__contains__)]

    last = [f'{ROOT.name}[photos,onnx,tests,lint]', 'photos_no_deps.txt']
    assert names() == ['torch.txt', 'mm.txt', *last]
    for mmcv in ('mmcv', 'mmcv-lite'):
        assert names('torch', 'mmengine', mmcv, 'mmsegmentation') == last
    (packages, own) = install.plan(openmmlab=True)  # in an environment of its own
    assert 'mmcv-lite==2.1.0' in packages and own[-1].endswith('[tests,lint]')
    with pytest.raises(SystemExit, match='has mmengine of OpenMMLab, but not all of'):
        names('torch', 'mmengine')


def test_the_second_run_does_nothing(monkeypatch, tmp_path):
    commands = []
    monkeypatch.setattr(install, 'STAMP', tmp_path / 'stamp')
    monkeypatch.setattr(install.subprocess, 'run', lambda command, **_: commands.append(command))
    monkeypatch.setattr(install, 'is_installed', lambda name: True)
    found = types.SimpleNamespace(origin=str(ROOT / 'code_mm/__init__.py'))
    monkeypatch.setattr(install.importlib.util, 'find_spec', lambda name: found)

    def does_something() -> bool:
        commands.clear()
        install.main()
        return bool(commands)

    assert does_something() and not does_something()
    found.origin = '/site-packages/code_mm/__init__.py'  # not this checkout
    assert does_something()
    found.origin = str(ROOT / 'code_mm/__init__.py')
    assert not does_something()
    monkeypatch.setattr(install, 'digest', lambda: 'other requirements')
    assert does_something()


@pytest.mark.parametrize('variable', ['VIRTUAL_ENV', 'CONDA_PREFIX', None])
def test_make_uses_the_active_environment_or_makes_one(variable):
    base = Path(sys.base_prefix) / 'bin' / 'python3'
    environment = {'PATH': '/usr/bin:/bin', 'HOME': '/nonexistent'}
    environment |= {variable: '/their/env'} if variable else {}
    command = ['make', '--no-print-directory', '-n', 'install', f'BASE_PYTHON={base}']
    keys = dict(cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    commands = subprocess.run(command, **keys).stdout
    folder = '/their/env' if variable else f'{ROOT}/.venv'
    assert (f'{base} -m venv {folder}' in commands) == (variable is None)
    assert f'{folder}/bin/python tools/install.py' in commands
