import json

import numpy as np
import pytest

from code_mm.evaluation import result_table, write_result_table

ROWS = [
    dict(model='MaskCLIP', mIoU=[15.0, 16.0, 17.0], auc=np.float64(0.1849)),
    dict(model='CoDe | PAMR', mIoU=[33.25, 33.25], auc=0.89, note=None),
    dict(model='none', mIoU=float('nan')),
]


def test_markdown():
    assert result_table(ROWS, digits=dict(auc=2)).split('\n') == [
        '| model | mIoU | auc | note |',
        '| --- | ---: | ---: | ---: |',
        '| MaskCLIP | 16.0 ± 1.0 | 0.18 | - |',
        '| CoDe \\| PAMR | 33.2 ± 0.0 | 0.89 | - |',
        '| none | - | - | - |',
    ]


def test_columns_and_best():
    assert result_table(ROWS[:2], columns=['auc', 'model'], digits=3, bold_best=True).split('\n')[
        2:
    ] == ['| 0.185 | MaskCLIP |', '| **0.890** | CoDe \\| PAMR |']


def test_written_files(tmp_path):
    table = write_result_table(ROWS, tmp_path / 'new' / 'demo.v1', columns=['model'])
    assert (tmp_path / 'new' / 'demo.v1.md').read_text() == table + '\n'
    rows = json.loads((tmp_path / 'new' / 'demo.v1.json').read_text())
    assert rows[0] == dict(model='MaskCLIP', mIoU=[15.0, 16.0, 17.0], auc=0.1849)
    assert rows[2]['mIoU'] is None


def test_nothing_to_show():
    with pytest.raises(ValueError, match='at least one row'):
        result_table([])
    with pytest.raises(ValueError, match=r"columns among .*but got \['miou'\]"):
        result_table(ROWS, columns=['miou'])
