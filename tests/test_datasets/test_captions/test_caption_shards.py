import json
import pickle

import numpy as np
import pytest

from code_mm.datasets.captions import CaptionShardsDataset, CaptionStreamDataset

CAPTIONS = [['a dog', 'a cat'], ['a red car'], ['two birds', 'a house', 'the sea']]


@pytest.fixture
def root(write_pairs, tmp_path):
    for number, captions in enumerate(CAPTIONS):
        write_pairs(f'{number:05d}.tar', captions, first=10 * number)
    return str(tmp_path)


def test_every_pair_in_shard_order(root, image_bytes):
    dataset = CaptionShardsDataset('{00000..00002}.tar', data_root=root)
    expected = [
        (f'{shard:05d}.tar/{10 * shard + i:07d}', caption, image_bytes(10 * shard + i))
        for shard, captions in enumerate(CAPTIONS)
        for i, caption in enumerate(captions)
    ]
    found = [dataset[i] for i in range(len(dataset))]
    assert [(s['sample_key'], s['caption'], s['img_bytes']) for s in found] == expected
    assert found[0].keys() == {'sample_key', 'shard', 'caption', 'img_bytes'}
    assert dataset.skipped == {}
    assert dataset.num_used == len(expected) == 6


def test_missing_and_damaged_shards_cost_only_themselves(root, tmp_path):
    (tmp_path / '00001.tar').write_bytes(b'')
    with open(tmp_path / '00002.tar', 'r+b') as file:
        file.seek(0, 2)
        file.truncate(file.tell() // 2)
    dataset = CaptionShardsDataset('{00000..00004}.tar', data_root=root)
    assert {dataset[i]['caption'] for i in range(len(dataset))} >= {'a dog', 'a cat', 'two birds'}
    assert dataset.skipped_keys['missing_shard'] == ['00003.tar', '00004.tar']
    assert dataset.skipped_keys['unreadable_shard'] == ['00001.tar']
    assert dataset.skipped['truncated_shard'] == 1


def test_shard_that_vanishes_or_shrinks_during_the_run(root, tmp_path):
    dataset = CaptionShardsDataset('*.tar', data_root=root)
    (tmp_path / '00001.tar').unlink()
    with open(tmp_path / '00002.tar', 'r+b') as file:
        file.truncate(600)
    np.random.seed(0)
    seen = {dataset[i]['caption'] for i in range(6)}
    assert seen == {'a dog', 'a cat'}
    assert dataset.skipped == {'missing_shard': 1, 'truncated_shard': 3}


@pytest.fixture
def fields_shard(write_tar):
    """Writes a shard of one sample with a json member."""

    def write(fields, caption=b'a dog and a cat'):
        data = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
        return write_tar('s.tar', {'1.jpg': b'image', '1.txt': caption, '1.json': data})

    return write


def test_nouns_and_caption_of_the_json_member(fields_shard):
    path = fields_shard(dict(nouns=['cat', 'dog', 'cat', ' '], alt='the alt text'))
    sample = CaptionShardsDataset(path)[0]
    assert (sample['nouns'], sample['caption']) == (['cat', 'dog'], 'a dog and a cat')
    assert CaptionShardsDataset(path, caption_field='alt')[0]['caption'] == 'the alt text'
    for field in (None, 'things'):
        assert 'nouns' not in CaptionShardsDataset(path, nouns_field=field)[0]
    assert 'nouns' not in CaptionShardsDataset(fields_shard(dict(nouns=None)))[0]


@pytest.mark.parametrize(
    ('fields', 'caption', 'kwargs', 'reason'),
    [
        (b'{"nouns": [', b'a dog', {}, 'bad_fields'),
        (b'[1]', b'a dog', {}, 'bad_fields'),
        (dict(nouns='dog'), b'a dog', {}, 'bad_fields'),
        (dict(nouns=[1]), b'a dog', {}, 'bad_fields'),
        ({}, b' \n', {}, 'empty_caption'),
        ({}, b'a dog ' * 20_000, {}, 'bad_caption'),
        ({}, b'\x80\x81\x82 dog', {}, 'bad_caption'),
        ({}, b'a dog', dict(caption_field='alt'), 'missing_caption'),
        (dict(alt=3), b'a dog', dict(caption_field='alt'), 'missing_caption'),
        (dict(alt=' '), b'a dog', dict(caption_field='alt'), 'empty_caption'),
    ],
)
def test_bad_text(fields_shard, fields, caption, kwargs, reason):
    path = fields_shard(fields, caption)
    dataset = CaptionShardsDataset(path, **kwargs)
    assert dataset.prepare_data(0) is None
    assert dataset.skipped_keys == {reason: ['s.tar/1']}
    stream = CaptionStreamDataset(dict(shards=path, **kwargs), [], repeat=False, max_bad_fraction=1)
    assert list(stream) == []
    assert stream.skipped == {reason: 1}


def test_captions_that_are_no_utf8_or_begin_with_a_mark(fields_shard):
    path = fields_shard({}, ' café 🐱\n'.encode('utf-8-sig'))
    assert CaptionShardsDataset(path)[0]['caption'] == 'café 🐱'
    path = fields_shard({}, 'café'.encode('latin-1'))
    assert CaptionShardsDataset(path)[0]['caption'] == 'caf\ufffd'


def test_shards_without_any_pair(write_tar, tmp_path):
    path = write_tar('s.tar', {'1.jpg': b'a', '2.txt': b'b'})
    with pytest.raises(ValueError, match=r'found none .*missing_caption.*check image_extensions'):
        CaptionShardsDataset(path)
    with pytest.raises(ValueError, match=r"shards '9\*\.tar' to name tar files"):
        CaptionShardsDataset('9*.tar', data_root=str(tmp_path))


def test_index_dir_is_used(root, tmp_path):
    folder = tmp_path / 'index'
    datasets = [
        CaptionShardsDataset('*.tar', data_root=root, index_dir=str(folder)) for _ in range(2)
    ]
    assert len(list(folder.iterdir())) == 3
    assert datasets[0][5] == datasets[1][5] == pickle.loads(pickle.dumps(datasets[0]))[5]


@pytest.mark.parametrize(
    ('indices', 'captions'),
    [([5, 0], ['the sea', 'a dog']), (3, ['a dog', 'a cat', 'a red car']), (-1, ['the sea'])],
)
def test_indices_and_subsets(root, indices, captions):
    dataset = CaptionShardsDataset('*.tar', data_root=root, indices=indices)
    assert [dataset[i]['caption'] for i in range(len(dataset))] == captions
    assert dataset.get_subset([len(captions) - 1])[0]['caption'] == captions[-1]
    with pytest.raises(IndexError):
        dataset[6]
