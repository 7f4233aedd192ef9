"""What tools/install.py would do to an environment; nothing is installed here."""

import importlib.util
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def install(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location('install', ROOT / 'tools' / 'install.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, 'STAMP', tmp_path / 'stamp')
    return module


def test_torch_comes_first_and_what_the_user_has_is_kept(install):
    def names(*has):
        return [Path(step[-1]).name for step in install.plan(has=has.__contains__)]

    last = [f'{ROOT.name}[photos,tests,lint]', 'photos_no_deps.txt']
    assert names() == ['torch.txt', 'mm.txt', *last]
    for mmcv in ('mmcv', 'mmcv-lite'):
        assert names('torch', 'mmengine', mmcv, 'mmsegmentation') == last
    (packages, own) = install.plan(openmmlab=True)  # in an environment of its own
    assert 'mmcv-lite==2.1.0' in packages and own[-1].endswith('[tests,lint]')
    with pytest.raises(SystemExit, match='has mmengine of OpenMMLab, but not all of'):
        names('torch', 'mmengine')


def test_the_second_run_does_nothing(install, monkeypatch):
    commands = []
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


def make(*arguments: str, **environment: str) -> str:
    """What make would run, with nothing of this environment but what is given."""
    base = {'PATH': '/usr/bin:/bin', 'HOME': '/nonexistent', **environment}
    command = ['make', '--no-print-directory', '-n', *arguments]
    result = subprocess.run(command, cwd=ROOT, env=base, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize('variable', ['VIRTUAL_ENV', 'CONDA_PREFIX'])
def test_make_uses_the_active_environment(variable):
    commands = make('install', **{variable: '/their/env'})
    assert '-m venv' not in commands
    assert '/their/env/bin/python tools/install.py' in commands


def test_make_makes_an_environment_where_none_is_active():
    base = Path(sys.base_prefix) / 'bin' / 'python3'
    commands = make('install', f'BASE_PYTHON={base}')
    assert f'{base} -m venv {ROOT}/.venv' in commands
    assert f'{ROOT}/.venv/bin/python tools/install.py' in commands
