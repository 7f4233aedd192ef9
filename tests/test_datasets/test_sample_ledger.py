import multiprocessing
import pickle
from types import SimpleNamespace

import pytest

from code_mm.datasets import sample_ledger
from code_mm.datasets.sample_ledger import MAX_WORKERS, SampleLedger, Skip, worker_row
from code_mm.structures.unusable_sample import UnusableSample

SMALL = UnusableSample('small_image', '1x1 pixels')
FEW = UnusableSample('few_nouns', 'x')
MISSING = UnusableSample('missing_shard')


@pytest.fixture(autouse=True)
def log(monkeypatch):
    lines = []
    monkeypatch.setattr(sample_ledger, 'print_log', lambda message, **_: lines.append(message))
    return lines


def as_worker(monkeypatch, number):
    monkeypatch.setattr(sample_ledger, 'get_worker_info', lambda: SimpleNamespace(id=number))


def test_a_problem_survives_pickling():
    """As it does on its way out of a loader worker."""
    copy = pickle.loads(pickle.dumps(SMALL))
    assert (copy.reason, copy.detail, str(copy)) == ('small_image', '1x1 pixels', str(SMALL))


def test_numbered_samples_count_once_and_the_last_verdict_stands():
    ledger = SampleLedger('data', [Skip('empty_caption', 's/9'), Skip('few_nouns', 's/8')], 6)
    for _ in range(3):
        ledger.skip('s/2', FEW, 2)
        ledger.use(1)
    ledger.skip('s/4', SMALL, 4)
    ledger.use(4)
    assert ledger.counts() == {'empty_caption': 1, 'few_nouns': 2}
    assert (ledger.num_used, ledger.skipped_indices('few_nouns')) == (2, [2])


def test_each_numbered_sample_is_warned_about_once_up_to_the_limit_and_counts_are_logged(log):
    ledger = SampleLedger('data', [Skip('empty_caption', 's/9')], num_samples=9, max_warnings=2)
    for index in (0, 0, 1, 1, 2, 3):
        ledger.skip(f's/{index}', SMALL, index)
    for visit in range(9_994):
        ledger.use(visit % 4)
    first, second, *counts = log
    assert first == 'data: left out s/0: small_image (1x1 pixels)'
    assert second.startswith('data: left out s/1') and 'only counted' in second
    # after 1000 visits, and ten times as many
    line = "data: 4 samples used by 1 process(es); left out so far: {'empty_caption': 1}"
    assert counts == [line] * 2


def test_too_large_a_share_is_an_error_that_says_why():
    ledger = SampleLedger('data', num_samples=1000, max_bad_fraction=0.25)
    with pytest.raises(RuntimeError) as error:
        for index in range(1000):
            ledger.use(index) if index % 3 else ledger.skip(f's/{index}', FEW, index)
    # the first bad one from the 200th visit on
    assert 'data: 68 of 202 samples were unusable, the last s/201: few_nouns' in str(error.value)
    assert "max_bad_fraction=0.25. So far: {'few_nouns': 68}" in str(error.value)
    with pytest.raises(ValueError, match='expected max_bad_fraction in'):
        SampleLedger('data', max_bad_fraction=1.5)


def test_limits_of_a_stream():
    ledger = SampleLedger('data')
    for _ in range(999):
        ledger.skip('s/1', SMALL)
    with pytest.raises(RuntimeError, match=r'data: 1000 of 1000 samples were unusable.*s/7: small'):
        ledger.skip('s/7', SMALL)
    ledger = SampleLedger('data')
    for _ in range(1500):  # half of them is not more than half
        ledger.use()
        ledger.skip('s/1', SMALL)
    for number in range(42):
        ledger.open_shard()
        if number % 2 and number < 40:
            ledger.damage(f'{number}.tar', MISSING, lost=True)
    ledger.damage('41.tar', UnusableSample('unreadable_shard', 'x'), lost=True, count=False)
    assert ledger.counts() == {'missing_shard': 20, 'small_image': 1500}
    with pytest.raises(RuntimeError, match=r'22 of 42 shards were unusable.*x\.tar'):
        ledger.damage('x.tar', MISSING, lost=True)


def test_summary_names_what_the_index_left_out(log):
    skips = [Skip('empty_caption', f's/{i}') for i in range(12)]
    skips += [Skip('truncated_shard', 's', 'ends at byte 7')]
    SampleLedger('data', skips).log_index_summary('5 pairs')
    named = ', '.join(f's/{i}' for i in range(10))
    (line,) = log
    assert f'12 empty_caption: {named}, …; 1 truncated_shard: s (ends at byte 7)' in line


def note(ledger, times):
    for _ in range(times):
        ledger.use()
        ledger.skip('s/1', SMALL)


def test_the_counts_of_a_stream_are_summed_over_workers_and_processes(log, monkeypatch):
    ledger = SampleLedger('data', [Skip('missing_shard', '9.tar')], max_bad_fraction=0.9)
    note(ledger, 2)
    process = multiprocessing.get_context('fork').Process(target=note, args=(ledger, 3))
    as_worker(monkeypatch, 4)  # the forked process is worker 4
    process.start()
    process.join()
    ledger.open_shard()
    ledger.damage('s', UnusableSample('truncated_shard'))
    assert ledger.num_used == 5
    ledger.log_totals([2 * n for n in ledger.totals()], 2)
    assert log[-1] == (
        'data: 10 samples used and 2 shards opened by 2 process(es); left out so far: '
        "{'missing_shard': 1, 'truncated_shard': 2, 'small_image': 10}"
    )
    as_worker(monkeypatch, MAX_WORKERS)
    with pytest.raises(ValueError, match='fewer than 256 loader workers'):
        worker_row()
