import multiprocessing

import pytest

from code_mm.datasets import sample_ledger
from code_mm.datasets.sample_ledger import SampleLedger, Skip
from code_mm.structures.unusable_sample import UnusableSample


@pytest.fixture
def log(monkeypatch):
    lines = []
    monkeypatch.setattr(sample_ledger, 'print_log', lambda message, **_: lines.append(message))
    return lines


def test_counts_are_of_distinct_samples_and_the_last_verdict_stands(log):
    skips = [Skip('empty_caption', 's/9'), Skip('few_nouns', 's/8')]
    ledger = SampleLedger('data', 6, skips)
    for _ in range(3):
        ledger.skip(2, 's/2', UnusableSample('few_nouns'))
        ledger.use(1)
    ledger.skip(3, 's/3', UnusableSample('broken_image'))
    ledger.skip(4, 's/4', UnusableSample('broken_image'))
    ledger.use(4)
    assert ledger.counts() == {'empty_caption': 1, 'broken_image': 1, 'few_nouns': 2}
    assert ledger.num_used == 2
    assert ledger.skipped_indices('few_nouns') == [2]
    assert ledger.skipped_indices('broken_image') == [3]
    assert ledger.skipped_indices('small_image') == []


def test_each_sample_is_warned_about_once_up_to_the_limit(log):
    ledger = SampleLedger('data', 9, max_warnings=2)
    for index in (0, 0, 1, 1, 2, 3):
        ledger.skip(index, f's/{index}', UnusableSample('small_image', '1x1 pixels'))
    assert log == [
        'data: left out s/0: small_image (1x1 pixels)',
        'data: left out s/1: small_image (1x1 pixels); further ones of this process are only '
        'counted',
    ]


def test_counts_are_logged_after_1000_10000_visits(log):
    ledger = SampleLedger('data', 5, [Skip('empty_caption', 's/9')])
    for visit in range(10_001):
        ledger.use(visit % 4)
    assert log == [
        f'data: {visits} samples read by this process, 4 different ones used by all; left out so '
        "far: {'empty_caption': 1}"
        for visits in (1000, 10_000)
    ]
    log.clear()
    ledger = SampleLedger('data', 5)  # nothing left out, nothing said
    for _ in range(2000):
        ledger.use(0)
    assert log == []


def test_too_large_a_share_is_an_error_that_says_why(log):
    ledger = SampleLedger('data', 1000, max_bad_fraction=0.25)
    with pytest.raises(RuntimeError) as error:
        for index in range(1000):
            if index % 3 == 0:
                ledger.skip(index, f's/{index}', UnusableSample('few_nouns', 'x'))
            else:
                ledger.use(index)
    # the first bad one from the 200th visit on
    assert str(error.value).startswith('data: 68 of 202 samples were unusable, more than max_bad')
    assert "s/201: few_nouns (x). So far: {'few_nouns': 68}" in str(error.value)


def test_a_share_below_the_limit_goes_on(log):
    ledger = SampleLedger('data', 1000, max_bad_fraction=0.34)
    for index in range(999):
        if index % 3 == 2:
            ledger.skip(index, '', UnusableSample('few_nouns'))
        else:
            ledger.use(index)
    assert ledger.counts() == {'few_nouns': 333}


def test_summary_names_what_the_index_left_out(log):
    SampleLedger('data', 5).log_index_summary()
    skips = [Skip('empty_caption', f's/{i}') for i in range(12)]
    skips += [Skip('truncated_shard', 's', 'ends at byte 7')]
    SampleLedger('data', 5, skips).log_index_summary()
    named = ', '.join(f's/{i}' for i in range(10))
    assert log == [
        'data: 5 image-caption pairs',
        f'data: 5 image-caption pairs; left out 13: 12 empty_caption: {named}, …; '
        '1 truncated_shard: s (ends at byte 7)',
    ]


def work(ledger, first):
    for index in range(first, first + 10):
        if index % 2:
            ledger.use(index)
        else:
            ledger.skip(index, '', UnusableSample('broken_image'))


def test_workers_share_the_counts(log):
    ledger = SampleLedger('data', 40)
    context = multiprocessing.get_context('fork')
    workers = [context.Process(target=work, args=(ledger, first)) for first in (0, 5, 20)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    indices = {*range(15), *range(20, 30)}
    assert ledger.num_used == sum(i % 2 for i in indices)
    assert ledger.skipped_indices('broken_image') == sorted(i for i in indices if i % 2 == 0)


@pytest.mark.parametrize('fraction', [0, -1, 1.5])
def test_limits_are_checked(fraction):
    with pytest.raises(ValueError, match='expected max_bad_fraction in'):
        SampleLedger('data', 1, max_bad_fraction=fraction)


def test_unknown_reason():
    with pytest.raises(ValueError, match=r"expected reason to be one of .*got 'ugly'"):
        UnusableSample('ugly')
