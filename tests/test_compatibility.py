"""Importing code_mm says what to install where a package is missing, old, new or broken."""

import subprocess
import sys
import types
from importlib import metadata

import pytest

from code_mm import compatibility
from code_mm.compatibility import FAMILIES, INSTALL_MM, SUPPORTED, check_versions


@pytest.fixture
def fake(monkeypatch):
    """``fake('mmcv', '1.7.0')`` puts a package of that version in place of the real one."""

    def replace(name, version):
        module = types.ModuleType(name)
        module.__version__ = version
        monkeypatch.setitem(sys.modules, name, module)

    return replace


@pytest.mark.parametrize('name', SUPPORTED)
def test_a_missing_package_is_named_with_its_cure(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)  # what Python does for "not importable"
    with pytest.raises(ImportError, match=f'{name} is not installed') as error:
        check_versions()
    first, beyond = SUPPORTED[name]
    assert f'{name}>={first},<{beyond}' in str(error.value)
    assert (
        'torch==2.13.0' in str(error.value) if name == 'torch' else INSTALL_MM in str(error.value)
    )


@pytest.mark.parametrize(
    ('name', 'version'),
    [('mmcv', '1.7.0'), ('mmseg', '1.1.2'), ('mmengine', '1.0.0'), ('torch', '2.0.1+cu118')],
)
def test_an_unsupported_version_is_named(fake, name, version):
    fake(name, version)
    with pytest.raises(ImportError, match=r'is not supported') as error:
        check_versions()
    assert f'{name} {version} is not supported' in str(error.value)


@pytest.mark.parametrize(
    ('name', 'version'),
    [('mmcv', '2.1.0'), ('mmseg', '1.2.2'), ('mmengine', '0.10.4'), ('torch', '2.13.0+cpu')],
)
def test_both_families_and_local_builds_are_accepted(fake, name, version):
    fake(name, version)
    check_versions()


def test_a_package_that_fails_to_import_shows_why(monkeypatch, tmp_path):
    (tmp_path / 'mmseg.py').write_text('assert False, "MMCV==9 is used but incompatible"')
    monkeypatch.delitem(sys.modules, 'mmseg')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r'mmseg is installed, but fails.*MMCV==9 is used'):
        check_versions()


def test_both_families_side_by_side_are_warned_of(monkeypatch):
    def distribution(name):
        if name not in FAMILIES['mmcv']:
            raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(compatibility.metadata, 'distribution', distribution)
    with pytest.warns(UserWarning, match='both mmcv and onedl-mmcv are installed'):
        check_versions()


def test_importing_the_package_runs_the_check(tmp_path):
    (tmp_path / 'mmcv.py').write_text('__version__ = "1.7.0"')
    script = f'import sys; sys.path.insert(0, {str(tmp_path)!r}); import code_mm'
    result = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 1
    assert 'mmcv 1.7.0 is not supported' in result.stderr
