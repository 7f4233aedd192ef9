import pytest

from code_mm.engine.loops.benchmark import choose_benchmarks, loader_config

DATASET = dict(type='ADE20KDataset')
BOTH = dict(a=dict(dataset=DATASET), b=dict(dataset=DATASET, background_threshold=0.4))


def test_choice():
    assert list(choose_benchmarks(BOTH)) == ['a', 'b']
    assert list(choose_benchmarks(BOTH, only=['b', 'a'])) == ['b', 'a']
    assert list(choose_benchmarks(BOTH, only='b')) == ['b']
    assert list(choose_benchmarks({**BOTH, 'a': None})) == ['b']


@pytest.mark.parametrize(
    ('benchmarks', 'only', 'error', 'match'),
    [
        ([dict(dataset=DATASET)], None, TypeError, r'benchmarks as a dict, name=dict.* got list'),
        (dict(a=None), None, ValueError, r"at least one benchmark, but all of \['a'\] are None"),
        (BOTH, ['c'], ValueError, r"in only=\['c'\] to be one of \['a', 'b'\], but got 'c'"),
        (BOTH, ['a', 'a'], ValueError, 'each benchmark once'),
        (dict(a=dict()), None, ValueError, "the key 'dataset'.* in benchmark 'a', but got"),
        (dict(a=3), None, TypeError, "benchmark 'a' as a dict, but got 3"),
        (dict(mean=dict(dataset=DATASET)), None, ValueError, "not 'mean', but got 'mean'"),
        ({'x/y': dict(dataset=DATASET)}, None, ValueError, "without '/'.* but got 'x/y'"),
        (
            dict(a=dict(dataset=DATASET, background_treshold=0.4)),
            None,
            ValueError,
            "key of benchmark 'a' .* 'background_treshold'; did you mean 'background_threshold'",
        ),
    ],
)
def test_mistakes_are_named(benchmarks, only, error, match):
    with pytest.raises(error, match=match):
        choose_benchmarks(benchmarks, only)


def test_own_loader_keys_stand_over_shared_ones():
    shared = dict(
        batch_size=1,
        num_workers=4,
        persistent_workers=True,
        dataset=dict(type='Other', data_root='other', pipeline=[dict(type='A')]),
    )
    keys = dict(dataset=dict(type='Mine'), dataloader=dict(batch_size=8))
    found = loader_config(keys, shared)
    assert found == dict(
        batch_size=8,
        num_workers=4,
        persistent_workers=False,
        dataset=dict(type='Mine', pipeline=[dict(type='A')]),
    )
    keys['dataset']['pipeline'] = [dict(type='B')]
    assert loader_config(keys, shared)['dataset']['pipeline'] == [dict(type='B')]
    assert loader_config(keys, dict(batch_size=2))['dataset'] == keys['dataset']
    found['dataset']['pipeline'].clear()  # nobody else's
    assert shared['dataset']['pipeline'] == [dict(type='A')]
