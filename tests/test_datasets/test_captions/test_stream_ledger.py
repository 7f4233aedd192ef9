import multiprocessing
from types import SimpleNamespace

import pytest

from code_mm.datasets import sample_ledger
from code_mm.datasets.captions import stream_ledger, worker_status
from code_mm.datasets.captions.stream_ledger import StreamLedger
from code_mm.datasets.captions.worker_status import MAX_WORKERS, WorkerStatus, rows_of, worker_row
from code_mm.datasets.sample_ledger import Skip
from code_mm.structures.unusable_sample import UnusableSample

SMALL = UnusableSample('small_image', '1x1 pixels')


@pytest.fixture
def log(monkeypatch):
    lines = []
    for module in (sample_ledger, stream_ledger):
        monkeypatch.setattr(module, 'print_log', lambda message, **_: lines.append(message))
    return lines


def as_worker(monkeypatch, number):
    info = None if number is None else SimpleNamespace(id=number)
    monkeypatch.setattr(worker_status, 'get_worker_info', lambda: info)


def note(ledger, times):
    for _ in range(times):
        ledger.use()
        ledger.skip('s/1', SMALL)


def test_counts_of_all_workers_are_summed(log, monkeypatch):
    ledger = StreamLedger('data', [Skip('missing_shard', '9.tar')], max_bad_fraction=0.9)
    note(ledger, 2)
    process = multiprocessing.get_context('fork').Process(target=note, args=(ledger, 3))
    as_worker(monkeypatch, 4)  # the forked process is worker 4
    process.start()
    process.join()
    ledger.open_shard()
    ledger.damage('s', UnusableSample('truncated_shard'))
    assert ledger.num_used == 5
    assert ledger.counts() == {'missing_shard': 1, 'truncated_shard': 1, 'small_image': 5}
    assert 'data: left out s/1: small_image (1x1 pixels)' in log
    ledger.log_totals([2 * n for n in ledger.totals()], 2)
    assert log[-1] == (
        'data: 10 samples used and 2 shards opened by 2 process(es); left out so far: '
        "{'missing_shard': 1, 'truncated_shard': 2, 'small_image': 10}"
    )


def test_the_limits(log):
    ledger = StreamLedger('data', max_bad_fraction=0.5)
    for _ in range(999):
        ledger.skip('s/1', SMALL)
    with pytest.raises(RuntimeError, match=r'data: 1000 of 1000 samples were unusable.*s/7: small'):
        ledger.skip('s/7', SMALL)
    ledger = StreamLedger('data', max_bad_fraction=0.5)
    note(ledger, 1500)  # half of them is not more than half
    for number in range(40):
        ledger.open_shard()
        if number % 2:
            ledger.lose_shard(f'{number}.tar', UnusableSample('missing_shard'))
    ledger.open_shard()
    ledger.open_shard()
    ledger.lose_shard('41.tar', UnusableSample('unreadable_shard', 'x'), count=False)
    assert ledger.counts() == {'missing_shard': 20, 'small_image': 1500}
    with pytest.raises(RuntimeError, match=r'22 of 42 shards were unusable.*x\.tar'):
        ledger.lose_shard('x.tar', UnusableSample('missing_shard'))


def test_rows_of_workers_and_of_the_process_itself(monkeypatch):
    as_worker(monkeypatch, None)
    assert worker_row() == 0
    assert range(9)[rows_of(0)] == range(1)
    as_worker(monkeypatch, 3)
    assert worker_row() == 4
    assert range(9)[rows_of(4)] == range(1, 5)
    as_worker(monkeypatch, MAX_WORKERS)
    with pytest.raises(ValueError, match='fewer than 256 loader workers'):
        worker_row()


def test_status_lines(monkeypatch):
    status = WorkerStatus()
    assert status.lines() == []
    as_worker(monkeypatch, 1)
    status.set('reading a longer line')
    status.set('reading ü.tar' + 'x' * 999)
    (line,) = status.lines()
    assert line.startswith('worker 1 (process ')
    assert '): reading ü.tarxxx' in line
    assert line.endswith(', for 0 s')
    as_worker(monkeypatch, None)
    status.set('opening')
    assert status.lines()[0].startswith('main process (process ')
