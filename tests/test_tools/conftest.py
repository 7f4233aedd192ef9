"""Tools run inside this process, which is quick."""

import runpy
import sys
from pathlib import Path

import pytest
from mmengine.logging import MMLogger

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
# what stands beside the tools is imported from there
FOLDERS = ('', 'analysis', 'benchmark', 'dataset_converters')
sys.path += [str(TOOLS / folder) for folder in FOLDERS]


@pytest.fixture
def run(monkeypatch, capsys):
    """``run('class_iou', ...)``: all that a tool says; it must end with ``status``."""
    for variable in ('TORCH_FORCE_WEIGHTS_ONLY_LOAD', 'LOCAL_RANK'):
        monkeypatch.setenv(variable, '0')  # what tools set is undone afterwards
    monkeypatch.setattr(sys, 'path', list(sys.path))
    # loggers that a tool makes write into this test's capture, which is closed afterwards
    monkeypatch.setattr(MMLogger, '_instance_dict', MMLogger._instance_dict.copy())

    def run_tool(name, *args, status=0):
        (path,) = TOOLS.rglob(f'{name}.py')
        monkeypatch.setattr(sys, 'argv', [str(path), *map(str, args)])
        found, message = 0, ''
        try:
            runpy.run_path(str(path), run_name='__main__')
        except SystemExit as end:
            found, message = (1, end.code) if isinstance(end.code, str) else (end.code, '')
        said = ''.join(capsys.readouterr()) + message
        assert found == status, said
        return said

    return run_tool
