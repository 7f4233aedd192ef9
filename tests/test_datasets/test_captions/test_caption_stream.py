import os
import pickle
import random
from itertools import islice

import numpy as np
import pytest
import torch
from hostile_shards import members_of
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from code_mm.datasets.captions import CaptionShardsDataset, CaptionStreamDataset, caption_stream

KEYS = {f'{n:05d}.tar/{100 * n + i:07d}' for n in range(8) for i in range(12 + n)}


@pytest.fixture
def write_texts(write_tar):
    """Writes a shard of pairs whose images are not looked at."""

    def write(name, numbers):
        pairs = {
            f'{n:07d}': dict(jpg=b'image %d' % n, txt=b'a dog and cat %d' % n) for n in numbers
        }
        return write_tar(name, members_of(pairs))

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
    at_random = CaptionShardsDataset('*.tar', data_root=root)
    expected = [at_random[i] for i in range(len(KEYS))]
    dataset = pickle.loads(pickle.dumps(stream(root, repeat=False)))
    assert sorted(dataset, key=lambda sample: sample['sample_key']) == expected
    assert (dataset.skipped, dataset.ledger.num_used) == ({}, len(KEYS))


@pytest.mark.parametrize(('num_workers', 'persistent'), [(0, False), (3, False), (2, True)])
def test_one_pass_is_every_sample_once(root, num_workers, persistent):
    dataset = stream(root, repeat=False)
    keys = dict(num_workers=num_workers, persistent_workers=persistent)
    loader = DataLoader(dataset, 4, collate_fn=pseudo_collate, **keys)
    first, second = ([key for batch in loader for key in batch['sample_key']] for _ in range(2))
    assert sorted(first) == sorted(KEYS) == sorted(second)
    assert first != second  # the next pass has an order of its own
    assert dataset.ledger.num_used == 2 * len(KEYS)


def test_fewer_shards_or_samples_than_workers(root, tmp_path, write_texts):
    keys = loaded(stream(root, '00003.tar', repeat=False), 4)
    assert sorted(keys) == sorted(key for key in KEYS if key.startswith('00003'))
    write_texts('few/0.tar', range(2))
    dataset = stream(root, 'few/0.tar', shuffle_buffer=0)
    assert len(loaded(dataset, 4, batches=8)) == 32  # nobody waits, nobody ends
    cut(tmp_path / '00002.tar')
    dataset = stream(root, '00002.tar', repeat=False)
    keys = loaded(dataset, 4)
    assert len(keys) == len(set(keys)) > 0
    assert dataset.skipped['truncated_shard'] == 1  # not by each of its readers


def test_the_seed_alone_decides(root):
    def order(seed, global_seed, num_workers):
        random.seed(global_seed)
        state = random.getstate()
        keys = loaded(stream(root, seed=seed, shuffle_buffer=30), num_workers, batches=25)
        assert random.getstate() == state  # nor is the global state touched
        return keys

    for num_workers in (0, 2):
        assert order(1, 0, num_workers) == order(1, 5, num_workers) != order(2, 0, num_workers)


def test_sources_are_mixed_by_weight(write_texts, tmp_path):
    for name in 'ab':
        write_texts(f'{name}/0.tar', range(10))
    sources = [
        dict(shards=f'{name}/0.tar', data_root=str(tmp_path), weight=weight)
        for name, weight in (('a', 3), ('b', 1))
    ]
    found = islice(CaptionStreamDataset(sources, []), 2000)
    share = np.mean(['/a/' in sample['shard'] for sample in found])
    assert abs(share - 0.75) < 0.03  # three standard deviations
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


def test_bad_samples_are_counted_and_named_as_at_random(write_tar, log):
    pair = {'jpg': b'image', 'txt': b'a dog'}
    samples = {'a': pair, 'b': dict(txt=b'no image'), 'c': dict(jpg=b'no caption'), 'd.2': pair}
    samples |= {'d.1': dict(jpg=b'', txt=b'a'), 'g': dict(jpg=b'x', txt=b''), 'e': pair}
    others = [('e.depth.png', b''), ('e.seg.png', b''), ('f.gif', b''), ('h.png', b'first')]
    others += [('h.jpg', b'second'), ('h.txt', b'a cat')]
    path = write_tar('x.tar', [*members_of(samples), *others])
    dataset, at_random = stream('', path, repeat=False), CaptionShardsDataset(path)
    for found in (dataset, at_random):
        keys = {sample['sample_key'] for sample in found}
        assert keys == {f'x.tar/{key}' for key in ('a', 'd.2', 'e', 'h')}
    expected = dict(missing_image=['b', 'f'], missing_caption=['c'], broken_image=['d.1'])
    expected |= dict(empty_caption=['g'], duplicate_member=['h.jpg'], unused_member=['e.depth'])
    expected = {reason: [f'x.tar/{key}' for key in keys] for reason, keys in expected.items()}
    assert at_random.skipped_keys == expected
    counts = {reason: len(keys) for reason, keys in expected.items()}
    assert dataset.skipped == at_random.skipped == counts | dict(unused_member=2)
    for reason, keys in expected.items():
        assert any(f'left out {keys[0]}: {reason}' in line for line in log)


def test_mistakes_and_too_much_that_is_bad_stop_the_run(root, write_tar):
    for key, value in dict(shuffle_buffer=-1, shard_timeout=0, max_bad_fraction=0).items():
        with pytest.raises(ValueError, match=f'expected .*{key}'):
            stream(root, **{key: value})
    dataset = stream(root, pipeline=[lambda sample: None], max_bad_fraction=1, max_refetch=300)
    with pytest.raises(RuntimeError, match=r'no usable sample in 301 tries.*other'):
        take(dataset, 1)
    path = write_tar('texts.tar', {'1.txt': b'a', '2.txt': b'b'})
    with pytest.raises(RuntimeError, match=r'1000 of 1000 samples were unusable, the last texts\.'):
        take(stream('', path), 1)
    path = write_tar('none.tar', {'README': b'a'})
    with pytest.raises(RuntimeError, match='no image or caption in a whole pass over 1 shards'):
        take(stream('', path), 1)
    with pytest.raises(RuntimeError, match='of 20 shards were unusable'):
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


def test_shards_over_http(root, web_server):
    dataset = stream(web_server, '{00000..00008}.tar', repeat=False, retries=0)
    assert sorted(loaded(dataset, 2)) == sorted(KEYS)
    assert dataset.skipped == {'missing_shard': 1}  # the ninth: 404


def test_after_the_pass_a_resumed_stream_is_the_uninterrupted_one(root):
    whole = take(stream(root, shuffle_buffer=0), 3 * len(KEYS))
    resumed = stream(root, shuffle_buffer=0)
    resumed.resume_at(torch.tensor([[[1.75]]]), 0)  # six of the eight shards of pass 1 were opened
    rest = take(resumed, 2 * len(KEYS))
    second = whole[len(KEYS) : 2 * len(KEYS)]
    assert sorted(second) == sorted(KEYS)
    opened = list(dict.fromkeys(key[:5] for key in second))[:6]
    left = [key for key in second if key[:5] not in opened]
    assert rest[: len(left) + len(KEYS)] == left + whole[2 * len(KEYS) :]


def test_a_resumed_stream_with_other_workers(root):
    dataset = stream(root)
    for num_workers in (0, 4):
        dataset.resume_at(torch.tensor([[[7.5], [7.25]]]), num_workers)
        assert dataset.workers.passes(num_workers).tolist() == [[7.375]] * max(1, num_workers)


def test_another_iterator_of_the_process_does_not_move_the_stream(root):
    """As when a hook takes a few pairs for its pictures."""
    dataset = stream(root, shuffle_buffer=0)
    iterator = iter(dataset)
    next(iterator)
    before = dataset.workers.passes(0).tolist()
    take(dataset, 3)
    next(iterator)
    assert dataset.workers.passes(0).tolist() == before
