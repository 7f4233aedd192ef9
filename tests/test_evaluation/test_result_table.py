import json

import numpy as np
import pytest

from code_mm.datasets.benchmarks.table import BENCHMARKS, TABLE_BENCHMARKS
from code_mm.evaluation.result_table import (
    SIX,
    benchmark_rows,
    benchmark_table,
    result_table,
    write_result_table,
)

ROWS = [
    dict(model='MaskCLIP', mIoU=[15.0, 16.0, 17.0], auc=np.float64(0.1849)),
    dict(model='CoDe | PAMR', mIoU=[33.25, 33.25], auc=0.89, note=None),
    dict(model='none', mIoU=float('nan')),
]


def test_markdown_and_written_files(tmp_path):
    table = write_result_table(ROWS, tmp_path / 'new' / 'demo.v1')
    assert (tmp_path / 'new' / 'demo.v1.md').read_text() == table + '\n'
    rows = json.loads((tmp_path / 'new' / 'demo.v1.json').read_text())
    assert rows[0] == dict(model='MaskCLIP', mIoU=[15.0, 16.0, 17.0], auc=0.1849)
    assert rows[2]['mIoU'] is None
    assert result_table(ROWS, digits=dict(auc=2)).split('\n') == [
        '| model | mIoU | auc | note |',
        '| --- | ---: | ---: | ---: |',
        '| MaskCLIP | 16.0 ± 1.0 | 0.18 | - |',
        '| CoDe \\| PAMR | 33.2 ± 0.0 | 0.89 | - |',
        '| none | - | - | - |',
    ]
    bold = result_table(ROWS[:2], digits=3, bold_best=True).split('\n')[2:]
    assert ['**0.890**' in row for row in bold] == [False, True]
    with pytest.raises(ValueError, match='at least one row'):
        result_table([])


def measured(type, images=3, **metrics):
    return dict(metrics=metrics, dataset=dict(type=type, images=images))


def test_the_mean_of_the_six_comes_with_all_six_only():
    parts = {
        name: measured(BENCHMARKS[name].dataset, mIoU=10.0 * (i + 1))
        for i, name in enumerate([*TABLE_BENCHMARKS, 'voc20'])
    }
    rows = {row['benchmark']: row for row in benchmark_rows(parts, ['CoDe', 'TCL'])}
    assert list(rows) == [*parts, 'mean of all 7', SIX]
    assert (rows[SIX]['mIoU'], rows['mean of all 7']['mIoU']) == (35.0, 40.0)
    assert (rows[SIX]['CoDe, published'], rows[SIX]['TCL, published']) == (31.8, 30.1)
    assert rows['mean of all 7'].get('CoDe, published') is None
    assert rows['voc20']['CoDe, published'] is None
    assert rows['cityscapes']['CoDe, published'] == 28.9
    parts.pop('ade20k')
    names = [row['benchmark'] for row in benchmark_rows(parts, ['CoDe'])]
    assert names == [*parts, 'mean of all 6']


def test_figures_belong_to_the_data_set_whatever_it_is_called():
    parts = dict(
        voc21=measured('MyDataset', mIoU=1.0, other=2.0),
        mine=measured('CityscapesDataset', 500, mIoU=3.0, names=['a']),
    )
    rows = benchmark_rows(parts, ['CoDe'])
    assert [row.get('CoDe, published') for row in rows] == [None, 28.9, None]
    assert rows[2] == {'benchmark': 'mean of all 2', 'images': None, 'mIoU': 2.0}
    table = benchmark_table(rows).splitlines()
    assert table[0] == '| benchmark | images | mIoU | CoDe, published | other |'
    assert table[3] == '| mine | 500 | 3.00 | 28.9 | - |'
    parts.pop('mine')  # no published column for other data alone
    assert benchmark_rows(parts, ['CoDe']) == [dict(benchmark='voc21', images=3, mIoU=1, other=2)]
