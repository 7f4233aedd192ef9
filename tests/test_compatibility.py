"""Importing code_mm says what to install where a package is missing, old, new or broken."""

import subprocess
import sys
import types
from importlib import metadata

import pytest

from code_mm import compatibility
from code_mm.compatibility import INSTALL_MM, SUPPORTED, check_versions


@pytest.mark.parametrize('name', SUPPORTED)
def test_a_missing_package_is_named_with_its_cure(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)  # what Python does for "not importable"
    monkeypatch.setattr(compatibility, '_is_installed', lambda distribution: False)
    with pytest.raises(ImportError, match=f'{name} is not installed') as error:
        check_versions()
    first, beyond = SUPPORTED[name]
    assert f'{name}>={first},<{beyond}' in str(error.value)
    assert ('torch==2.13.0' if name == 'torch' else INSTALL_MM) in str(error.value)


@pytest.mark.parametrize(
    ('name', 'version', 'supported'),
    [
        ('mmcv', '1.7.0', False),
        ('mmcv', '2.1.0', True),
        ('mmseg', '1.1.2', False),
        ('mmseg', '1.2.2', True),
        ('mmengine', '0.10.4', True),
        ('mmengine', '1.0.0', False),
        ('torch', '2.0.1+cu118', False),
        ('torch', '2.13.0+cpu', True),
    ],
)
def test_versions_of_both_families_and_local_builds(monkeypatch, name, version, supported):
    module = types.ModuleType(name)
    module.__version__ = version
    monkeypatch.setitem(sys.modules, name, module)
    if supported:
        check_versions()
        return
    with pytest.raises(ImportError) as error:
        check_versions()
    assert f'{name} {version} is not supported' in str(error.value)


def test_a_package_that_fails_to_import_shows_why(monkeypatch, tmp_path):
    (tmp_path / 'mmseg.py').write_text('assert False, "MMCV==9 is used but incompatible"')
    monkeypatch.delitem(sys.modules, 'mmseg')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r'mmseg is installed, but fails.*MMCV==9 is used'):
        check_versions()


def test_the_cure_keeps_to_the_family_that_is_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmseg.models', None)  # as with mmcv-lite
    for family, extra in (('mmsegmentation', '[openmmlab]'), ('onedl-mmsegmentation', '[mm]')):
        monkeypatch.setattr(compatibility, '_is_installed', lambda name, its=family: name == its)
        with pytest.raises(ImportError, match=r'mmseg is installed, but fails') as error:
            check_versions()
        assert f'code_mm{extra}' in str(error.value)


def test_both_families_side_by_side_are_warned_of(monkeypatch):
    def distribution(name):
        if name not in ('mmcv', 'onedl-mmcv'):
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
