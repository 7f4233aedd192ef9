"""tools/dataset_converters: coco_object.py and check_eval_data.py, as users run them."""

import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import data_report
import numpy as np
import pytest
from miniature_benchmarks import make_miniature
from PIL import Image

from code_mm.datasets.benchmarks.table import BENCHMARKS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs' / 'eval' / 'code_vit-b16_all.py'


@pytest.fixture
def run_converter(monkeypatch, capsys):
    """``run_converter('x.py', ...)`` in this process -> exit code and output."""

    def run(script, *args):
        monkeypatch.setattr(sys, 'argv', [script, *map(str, args)])
        code = 0
        try:
            path = ROOT / 'tools' / 'dataset_converters' / script
            runpy.run_path(str(path), run_name='__main__')
        except SystemExit as stop:
            code = stop.code
        return code, capsys.readouterr().out

    return run


def on_voc21(root):
    place = f'test_cfg.benchmarks.voc21.dataset.data_root={root}'
    return ['--cfg-options', 'test_cfg.only=voc21', place]


def test_coco_object_writes_where_the_config_reads(run_converter, tmp_path):
    root = make_miniature('coco_object', tmp_path)
    labels = sorted((root / 'annotations' / 'val2017').glob('*.png'))
    before = [np.asarray(Image.open(path)) for path in labels]
    for path in labels[1:]:
        path.unlink()
    code, output = run_converter('coco_object.py', root, '--workers', 1)
    assert not code
    assert '2 label maps written, 1 were there' in output
    after = [np.asarray(Image.open(path)) for path in labels]
    assert all((a == b).all() for a, b in zip(after, before, strict=True))
    with pytest.raises(FileNotFoundError, match=r'instances_train2017\.json does not'):
        run_converter('coco_object.py', root, '--split', 'train2017')


def test_check_eval_data(run_converter, tmp_path, monkeypatch):
    root, out = make_miniature('voc21', tmp_path), tmp_path / 'out'
    options = ['--out', out, *on_voc21(root)]
    code, output = run_converter('check_eval_data.py', CONFIG, *options)
    assert code == 1
    assert 'expected 1449 images, but got 3' in output
    assert 'VOCtrainval_11-May-2012.tar' in output and 'docs/benchmarks.md' in output
    classes = json.loads((out / 'voc21_classes.json').read_text())
    assert classes[0]['class'] == 'background' and len(classes) == 21
    assert sum(row['pixels %'] for row in classes) == pytest.approx(100)
    assert Image.open(out / 'voc21.png').size[0] > 480
    # the same data, were they published with three images
    changed = dict(voc21=replace(BENCHMARKS['voc21'], num_images=(3,)))
    monkeypatch.setattr(data_report, 'BENCHMARKS', changed)
    code, output = run_converter('check_eval_data.py', CONFIG, *options)
    assert code == 0
    assert 'voc21: right: 3 images, 3 labels (3 read)' in output
    assert 'wrong' not in output
    # labels without class are wrong, and not drawn
    for path in root.rglob('SegmentationClass/*.png'):
        Image.fromarray(np.full_like(Image.open(path), 90)).save(path)
    code, output = run_converter('check_eval_data.py', CONFIG, '--limit', 1, *options)
    assert code == 1
    assert 'values above 20' in output and 'no example drawn' in output
    assert '(1 read)' in output


def test_what_is_not_there_is_named(run_converter, tmp_path):
    with pytest.raises(FileNotFoundError, match='expected a config file'):
        run_converter('check_eval_data.py', tmp_path / 'no.py')
    with pytest.raises(ValueError, match='--limit: expected at least 1, but got 0'):
        run_converter('check_eval_data.py', CONFIG, '--limit', 0)
