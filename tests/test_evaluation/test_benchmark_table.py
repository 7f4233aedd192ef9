import pytest

from code_mm.evaluation.benchmark_table import SIX, benchmark_rows, benchmark_table
from code_mm.evaluation.published import DATASETS, PUBLISHED, TABLE_BENCHMARKS, benchmark_of


def measured(names):
    """mIoU 10, 20, ... and how the data sets are called."""
    metrics = {n: dict(mIoU=10.0 * (i + 1), aAcc=50.0 + i) for i, n in enumerate(names)}
    return metrics, {n: dict(type=DATASETS[n], images=i + 3) for i, n in enumerate(names)}


def test_averages_of_the_table_are_those_of_its_figures():
    """A misread figure would break this."""
    complete = {m: v for m, v in PUBLISHED.items() if v['average'] is not None}
    assert set(complete) == {'GroupViT', 'TCL', 'CoCu', 'CoDe'}
    for values in complete.values():
        assert tuple(values['miou']) == TABLE_BENCHMARKS
        assert sum(values['miou'].values()) / 6 == pytest.approx(
            values['average'], abs=0.051
        )  # CoCu's is exactly half way
    assert len(PUBLISHED) == 10
    # thesis §4.2: "the best performance in all six datasets", and an improvement of 5.65 %
    for name in TABLE_BENCHMARKS:
        of_all = {m: v['miou'][name] for m, v in PUBLISHED.items() if name in v['miou']}
        assert max(of_all, key=of_all.get) == 'CoDe'
    code, tcl = (PUBLISHED[m]['average'] for m in ('CoDe', 'TCL'))
    assert 100 * (code / tcl - 1) == pytest.approx(5.65, abs=0.005)


def test_the_mean_of_the_six_comes_with_all_six_only():
    metrics, datasets = measured([*TABLE_BENCHMARKS, 'voc20'])
    rows = {row['benchmark']: row for row in benchmark_rows(metrics, datasets, ['CoDe', 'TCL'])}
    assert list(rows) == [*metrics, 'mean of all 7', SIX]
    assert (rows[SIX]['mIoU'], rows['mean of all 7']['mIoU']) == (35.0, 40.0)
    assert (rows[SIX]['CoDe, published'], rows[SIX]['TCL, published']) == (31.8, 30.1)
    assert rows['mean of all 7'].get('CoDe, published') is None
    assert rows['voc20']['CoDe, published'] is None
    assert rows['cityscapes']['CoDe, published'] == 28.9
    assert list(rows['voc21'])[:5] == [
        'benchmark',
        'images',
        'mIoU',
        'CoDe, published',
        'TCL, published',
    ]
    metrics.pop('ade20k')
    names = [row['benchmark'] for row in benchmark_rows(metrics, datasets, ['CoDe'])]
    assert names == [*metrics, 'mean of all 6']


def test_figures_belong_to_the_data_set_whatever_it_is_called():
    datasets = {
        'voc21': dict(type='MyDataset', images=3),
        'mine': dict(type='CityscapesDataset', images=500),
    }
    metrics = {'voc21': dict(mIoU=1.0, other=2.0), 'mine': dict(mIoU=3.0, names=['a'])}
    rows = benchmark_rows(metrics, datasets, ['CoDe'])
    assert [row.get('CoDe, published') for row in rows] == [None, 28.9, None]
    assert rows[2] == {'benchmark': 'mean of all 2', 'images': None, 'mIoU': 2.0}
    table = benchmark_table(rows).splitlines()
    assert table[0] == '| benchmark | images | mIoU | CoDe, published | other |'
    assert table[3] == '| mine | 500 | 3.00 | 28.9 | - |'


def test_no_published_columns_for_other_data():
    rows = benchmark_rows(
        {'shapes': {'mIoU': 1.0}}, {'shapes': dict(type='Shapes', images=2)}, ['CoDe']
    )
    assert rows == [{'benchmark': 'shapes', 'images': 2, 'mIoU': 1.0}]


def test_data_sets_are_those_of_the_configs():
    assert benchmark_of('PascalContextDataset59') == 'context59'
    assert benchmark_of('ShapesWorldDataset') is None
