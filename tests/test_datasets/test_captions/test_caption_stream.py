import collections
import json
import os
import pickle
import random
import signal
import time
from itertools import islice

import numpy as np
import pytest
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from code_mm.datasets.captions import CaptionShardsDataset, CaptionStreamDataset, caption_stream
from code_mm.structures.unusable_sample import UnusableSample

KEYS = {f'{n:05d}.tar/{100 * n + i:07d}' for n in range(8) for i in range(12 + n)}


@pytest.fixture
def write_texts(write_tar):
    """Writes a shard of pairs whose images are not looked at."""

    def write(name, numbers):
        members = []
        for number in numbers:
            members.append((f'{number:07d}.jpg', f'image {number}'.encode()))
            members.append((f'{number:07d}.txt', f'a dog and cat {number}'.encode()))
        return write_tar(name, members)

    return write


@pytest.fixture
def root(write_texts, tmp_path):
    """Eight shards of 12, 13, ... 19 pairs."""
    for number in range(8):
        write_texts(f'{number:05d}.tar', range(100 * number, 101 * number + 12))
    return str(tmp_path)


@pytest.fixture
def log(monkeypatch):
    lines = []
    monkeypatch.setattr('code_mm.datasets.sample_ledger.print_log', lambda s, **_: lines.append(s))
    return lines


def stream(root, shards='*.tar', pipeline=(), **kwargs):
    return CaptionStreamDataset(dict(shards=shards, data_root=root), list(pipeline), **kwargs)


def loaded(dataset, num_workers=2, batches=None):
    """Keys in the order a loader gives them."""
    loader = DataLoader(dataset, 4, num_workers=num_workers, collate_fn=pseudo_collate)
    return [key for batch in islice(loader, batches) for key in batch['sample_key']]


def take(dataset, count):
    return [sample['sample_key'] for sample in islice(dataset, count)]


def cut(path):
    os.truncate(path, os.path.getsize(path) // 2)


def test_samples_are_those_of_random_access(root):
    expected = {}
    for sample in (CaptionShardsDataset('*.tar', data_root=root)[i] for i in range(len(KEYS))):
        expected[sample['sample_key']] = sample
    dataset = stream(root, repeat=False)
    found = {sample['sample_key']: sample for sample in dataset}
    assert found.keys() == expected.keys() == KEYS
    for key, sample in found.items():
        for field in ('caption', 'img_bytes', 'shard'):
            assert sample[field] == expected[key][field]
        assert 'nouns' not in sample
    assert (dataset.skipped, dataset.num_used) == ({}, len(KEYS))
    assert {s['sample_key'] for s in pickle.loads(pickle.dumps(dataset))} == KEYS


@pytest.mark.parametrize('num_workers', [0, 3])
def test_one_pass_is_every_sample_once(root, num_workers):
    dataset = stream(root, repeat=False)
    first, second = loaded(dataset, num_workers), loaded(dataset, num_workers)
    assert collections.Counter(first) == collections.Counter(KEYS) == collections.Counter(second)
    assert first != second  # the next pass has an order of its own
    assert dataset.num_used == 2 * len(KEYS)


def test_fewer_shards_or_samples_than_workers(root, tmp_path, write_texts):
    dataset = stream(root, '00003.tar', repeat=False)
    expected = {key for key in KEYS if key.startswith('00003')}
    assert collections.Counter(loaded(dataset, 4)) == collections.Counter(expected)
    write_texts('few/0.tar', range(2))
    dataset = stream(root, 'few/0.tar', shuffle_buffer=0)
    assert len(loaded(dataset, 4, batches=8)) == 32  # nobody waits, nobody ends
    cut(tmp_path / '00002.tar')
    dataset = stream(root, '00002.tar', repeat=False)
    keys = loaded(dataset, 4)
    assert len(keys) == len(set(keys)) > 0
    assert dataset.skipped['truncated_shard'] == 1  # not by each of its readers


def test_persistent_workers_begin_the_next_pass(root):
    kwargs = dict(num_workers=2, collate_fn=pseudo_collate, persistent_workers=True)
    loader = DataLoader(stream(root, repeat=False), 4, **kwargs)
    passes = [[key for batch in loader for key in batch['sample_key']] for _ in range(2)]
    assert all(collections.Counter(keys) == collections.Counter(KEYS) for keys in passes)
    assert passes[0] != passes[1]


def test_endless_passes_with_orders_of_their_own(root):
    keys = take(stream(root, shuffle_buffer=0), 3 * len(KEYS))
    passes = [keys[i * len(KEYS) : (i + 1) * len(KEYS)] for i in range(3)]
    assert all(sorted(one) == sorted(KEYS) for one in passes)
    shards = [list(dict.fromkeys(key[:5] for key in one)) for one in passes]
    assert shards[0] != shards[1] != shards[2]


def test_the_seed_alone_decides(root):
    def order(seed, global_seed):
        random.seed(global_seed)
        np.random.seed(global_seed)
        return take(stream(root, seed=seed, shuffle_buffer=30), 100)

    assert order(1, 0) == order(1, 5) != order(2, 0)
    state = random.getstate()
    take(stream(root), 50)
    assert random.getstate() == state  # nor is the global state touched
    first, again = (loaded(stream(root, seed=3), 2, batches=12) for _ in range(2))
    assert first == again  # of workers, too


def test_sources_are_mixed_by_weight(write_texts, tmp_path):
    for name in 'ab':
        write_texts(f'{name}/0.tar', range(10))
    sources = [
        dict(name=name, shards=f'{name}/0.tar', data_root=str(tmp_path), weight=weight)
        for name, weight in (('a', 3), ('b', 1))
    ]
    found = islice(CaptionStreamDataset(sources, []), 2000)
    share = np.mean(['/a/' in sample['shard'] for sample in found])
    assert abs(share - 0.75) < 3 * (0.75 * 0.25 / 2000) ** 0.5  # three standard deviations
    once = CaptionStreamDataset(sources, [], repeat=False)
    assert len(list(once)) == 20  # one pass exhausts all
    with pytest.raises(ValueError, match='a weight for every source or for none'):
        CaptionStreamDataset([sources[0], {**sources[1], 'weight': None}], [])


def test_weights_are_the_counted_sizes(write_texts, tmp_path):
    def write(name, text):
        write_texts(f'{name}/0.tar', [1])
        (tmp_path / name / '0_stats.json').write_text(text)
        return dict(shards=f'{name}/0.tar', data_root=str(tmp_path))

    sources = [write('a', '{"successes": 30}'), write('b', '{"successes": 10}')]
    dataset = CaptionStreamDataset(sources, [])
    assert (dataset._weights, len(dataset)) == ([30, 10], 40)
    write('b', '{"succ')  # of a killed img2dataset: nothing is assumed
    dataset = CaptionStreamDataset(sources, [])
    assert dataset._weights == [1, 1]  # shards
    assert len(dataset) > 10**15  # beyond every training
    with pytest.raises(TypeError, match=r'a known number of samples.*give num_samples'):
        len(CaptionStreamDataset(sources, [], repeat=False))
    assert len(CaptionStreamDataset({**sources[1], 'num_samples': 7}, [])) == 7


def test_other_names_of_keys_and_fields(write_tar):
    fields = dict(text='ein Kätzchen 🐱 im Körbchen', words=['Kätzchen', 'Körbchen'])
    members = {'set/ü1.image.png': b'image', 'set/ü1.caption': 'wörtlich'.encode()}
    members['set/ü1.json'] = json.dumps(fields).encode()
    source = dict(shards=write_tar('x.tar', members), image_extensions=['image.png'])
    for keys, caption, nouns in (
        (dict(caption_field='text', nouns_field='words'), fields['text'], fields['words']),
        (dict(caption_extension='.caption', nouns_field=None), 'wörtlich', None),
    ):
        (sample,) = CaptionStreamDataset({**source, **keys}, [], repeat=False)
        assert sample['sample_key'] == 'x.tar/set/ü1'
        assert (sample['caption'], sample.get('nouns')) == (caption, nouns)


def test_bad_samples_are_counted_and_named(write_tar, log):
    members = {'a.jpg': b'image', 'a.txt': b'a dog'}
    members |= {'b.txt': b'no image', 'c.jpg': b'no caption', 'd.jpg': b'', 'd.txt': b'a dog'}
    members |= {'e.jpg': b'image', 'e.txt': b'', 'h.jpg': b'image', 'h.txt': b'few'}
    path = write_tar('x.tar', [*members.items(), ('h.txt', b'again')])

    def few(sample):
        if sample['caption'] == 'few':
            raise UnusableSample('few_nouns', 'none')
        return sample

    dataset = stream('', path, [few], repeat=False)
    assert [sample['sample_key'] for sample in dataset] == ['x.tar/a']
    expected = dict(b='missing_image', c='missing_caption', d='broken_image', e='empty_caption')
    expected |= {'h': 'few_nouns (none)', 'h.txt': 'duplicate_member'}
    assert dataset.skipped == {reason.split()[0]: 1 for reason in expected.values()}
    for key, reason in expected.items():
        assert any(line.endswith(f'left out x.tar/{key}: {reason}') for line in log)


def test_damaged_and_missing_shards_cost_what_was_hit(root, tmp_path):
    (tmp_path / '00001.tar').write_bytes(b'')
    cut(tmp_path / '00002.tar')
    (tmp_path / '00003.tar').unlink()
    dataset = stream(root, '{00000..00008}.tar', repeat=False)
    (tmp_path / '00004.tar').unlink()  # later
    keys = loaded(dataset, 2)
    per_shard = collections.Counter(key[:5] for key in keys)
    assert 0 < per_shard.pop('00002') < 14
    assert per_shard == {'00000': 12, '00005': 17, '00006': 18, '00007': 19}
    skipped = dataset.skipped
    assert skipped.pop('missing_caption', 0) + skipped.pop('missing_image', 0) <= 1  # at the cut
    assert skipped == {'missing_shard': 3, 'unreadable_shard': 1, 'truncated_shard': 1}


def test_too_much_that_is_bad_stops_the_run(root, write_tar):
    def bad(sample):
        if int(sample['caption'].split()[-1]) % 3:
            raise UnusableSample('other', 'two of three')
        return sample

    dataset = stream(root, pipeline=[bad], max_bad_fraction=0.6)
    with pytest.raises(RuntimeError, match=r'more than max_bad_fraction=0.6.*00\d.*two of three'):
        take(dataset, 1000)
    dataset = stream(root, pipeline=[lambda sample: None], max_bad_fraction=1, max_refetch=300)
    with pytest.raises(RuntimeError, match=r'no usable sample in 301 tries.*other'):
        take(dataset, 1)
    path = write_tar('texts.tar', {'1.txt': b'a', '2.txt': b'b'})
    with pytest.raises(RuntimeError, match='no image with a caption in a whole pass over 1 shards'):
        take(stream('', path, max_bad_fraction=1), 1)
    with pytest.raises(RuntimeError, match='of 20 shards were unusable, more than max_bad_frac'):
        take(stream('', 'pipe:exit {1..40}', retries=0), 1)


def test_a_shard_that_fails_at_first_is_tried_again(root, tmp_path, monkeypatch):
    monkeypatch.setattr(caption_stream, '_RETRY_SECONDS', 0.01)
    path, flag = tmp_path / '00007.tar', tmp_path / 'flag'
    # the first try ends in the middle with an error
    fail = f'touch {flag}; head -c {os.path.getsize(path) // 2} {path}; exit 1'
    command = f'if [ -e {flag} ]; then cat {path}; else {fail}; fi'
    dataset = stream('', f'pipe:{command}', repeat=False, retries=1)
    captions = [sample['caption'] for sample in dataset]
    assert sorted(captions) == sorted(f'a dog and cat {700 + i}' for i in range(19))
    assert dataset.skipped == {}
    flag.unlink()
    dataset = stream('', f'pipe:{command}', repeat=False, retries=0)
    assert 0 < len(list(dataset)) < 19
    assert dataset.skipped['truncated_shard'] == 1


def test_a_stuck_command_is_named_and_passed_over(root, tmp_path, log):
    shards = [f'pipe:cat {tmp_path}/00000.tar', 'pipe:sleep 600; cat stuck.tar']
    start = time.monotonic()
    dataset = stream('', shards, repeat=False, retries=0, shard_timeout=5)
    assert len(list(dataset)) == 12
    assert time.monotonic() - start < 300
    assert dataset.skipped == {'unreadable_shard': 1}
    assert 'left out stuck.tar: unreadable_shard (no data for 5 s)' in log[-1]


def test_shards_over_http(root, web_server):
    dataset = stream(web_server, '{00000..00008}.tar', repeat=False, retries=0)
    assert collections.Counter(loaded(dataset, 2)) == collections.Counter(KEYS)
    assert dataset.skipped == {'missing_shard': 1}  # the ninth: 404


@pytest.mark.parametrize('num_workers', [0, 2])
def test_a_resumed_stream_goes_on_behind_what_was_read(root, num_workers):
    readers = max(1, num_workers)  # which share the 8 shards of a pass
    dataset = stream(root, shuffle_buffer=0, seed=5)
    before = loaded(dataset, num_workers, batches=5)
    positions = dataset.progress.positions(num_workers).tolist()
    assert len(positions) == readers
    resumed = stream(root, shuffle_buffer=0, seed=5)
    resumed.resume_at([positions], num_workers)
    assert resumed.progress.positions(num_workers).tolist() == positions
    assert all(passes == 0 and opened >= 1 for ((passes, opened),) in positions)
    left = sum(8 // readers - opened for ((_, opened),) in positions)  # shards nobody opened
    rest = loaded(resumed, num_workers, batches=8)
    fresh = list(dict.fromkeys(key[:5] for key in rest))[:left]
    assert fresh and not {key[:5] for key in before} & set(fresh)


def test_after_the_pass_a_resumed_stream_is_the_uninterrupted_one(root):
    whole = take(stream(root, shuffle_buffer=0), 3 * len(KEYS))
    resumed = stream(root, shuffle_buffer=0)
    resumed.resume_at([[[[1, 6]]]], 0)  # six of the eight shards of pass 1 were opened
    rest = take(resumed, 2 * len(KEYS))
    second = whole[len(KEYS) : 2 * len(KEYS)]
    opened = list(dict.fromkeys(key[:5] for key in second))[:6]
    left = [key for key in second if key[:5] not in opened]
    assert rest[: len(left) + len(KEYS)] == left + whole[2 * len(KEYS) :]


def test_a_resumed_stream_with_other_workers(root):
    dataset = stream(root)
    dataset.resume_at([[[[7, 2]], [[7, 2]]]], 0)  # two workers had opened 2 of 4 shards each
    assert dataset.progress.positions(0).tolist() == [[[7, 4]]]
    dataset.resume_at([[[[7, 2]], [[7, 2]]]], 4)
    assert dataset.progress.positions(4).tolist() == [[[7, 1]]] * 4


def test_what_a_killed_worker_was_doing_can_be_read(root):
    dataset = stream(root, pipeline=[lambda sample: time.sleep(600)])
    iterator = iter(DataLoader(dataset, 4, num_workers=1, collate_fn=pseudo_collate))
    deadline = time.monotonic() + 120
    while not dataset.status.lines() or 'preparing' not in dataset.status.lines()[0]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (process,) = iterator._workers
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match='DataLoader worker'):
        next(iterator)
    (line,) = dataset.status.lines()
    assert line.startswith(f'worker 0 (process {process.pid}): preparing {root}/0000')
    dataset.status.set('reading ü.tar' + 'x' * 999)
    line = dataset.status.lines()[0]
    assert line.startswith(f'main process (process {os.getpid()}): reading ü.tarxxx')


def test_another_iterator_of_the_process_does_not_move_the_stream(root):
    """As when a hook takes a few pairs for its pictures."""
    dataset = stream(root, shuffle_buffer=0)
    iterator = iter(dataset)
    next(iterator)
    before = dataset.progress.positions(0).tolist()
    take(dataset, 3)
    next(iterator)
    assert dataset.progress.positions(0).tolist() == before


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(shuffle_buffer=-1), 'shuffle_buffer and retries >= 0'),
        (dict(shard_timeout=0), 'shard_timeout > 0'),
        (dict(max_bad_fraction=0), r'max_bad_fraction in \(0, 1\]'),
        (dict(shards='absent*.tar'), 'to name tar files'),
    ],
)
def test_mistakes_are_errors_at_once(root, kwargs, message):
    with pytest.raises(ValueError, match=message):
        stream(root, **kwargs)
