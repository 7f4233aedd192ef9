import json
import pickle

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from code_mm.datasets.captions import CaptionShardsDataset
from code_mm.datasets.captions.caption_shards import ShardSamples
from code_mm.datasets.shards.shard_index import scan_shard

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
    assert all('nouns' not in sample for sample in found)
    assert dataset.skipped == {}
    assert dataset.num_used == len(expected) == 6


def test_built_from_a_config_by_its_bare_name(root):
    init_default_scope('mmseg')
    dataset = DATASETS.build(dict(type='CaptionShardsDataset', shards='*.tar', data_root=root))
    assert len(dataset) == 6
    assert dataset.metainfo == dict(dataset_type='image_caption')


def test_several_sources(root):
    init_default_scope('mmseg')
    parts = [
        dict(type='CaptionShardsDataset', shards=shards, data_root=root)
        for shards in ('00002.tar', ['00000.tar', '00001.tar'])
    ]
    dataset = DATASETS.build(dict(type='ConcatDataset', datasets=parts))
    captions = [dataset[i]['caption'] for i in range(len(dataset))]
    assert captions == [*CAPTIONS[2], *CAPTIONS[0], *CAPTIONS[1]]


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


def fields_shard(write_tar, fields, caption=b'a dog and a cat'):
    data = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    members = {'1.jpg': b'image', '1.txt': caption, '1.json': data}
    return write_tar('s.tar', members)


def test_nouns_of_the_json_member(write_tar):
    path = fields_shard(write_tar, dict(nouns=['cat', 'dog', 'cat', ' ']))
    assert CaptionShardsDataset(path)[0]['nouns'] == ['cat', 'dog']
    assert 'nouns' not in CaptionShardsDataset(path, nouns_field=None)[0]
    assert 'nouns' not in CaptionShardsDataset(path, nouns_field='things')[0]
    path = fields_shard(write_tar, dict(nouns=None))
    assert 'nouns' not in CaptionShardsDataset(path)[0]


def test_caption_of_a_json_field(write_tar):
    path = fields_shard(write_tar, dict(alt='the alt text'))
    assert CaptionShardsDataset(path, caption_field='alt')[0]['caption'] == 'the alt text'


@pytest.mark.parametrize(
    ('fields', 'caption', 'kwargs', 'reason'),
    [
        (b'{"nouns": [', b'a dog', {}, 'bad_fields'),
        (b'[1]', b'a dog', {}, 'bad_fields'),
        (dict(nouns='dog'), b'a dog', {}, 'bad_fields'),
        ({}, b' \n', {}, 'empty_caption'),
        ({}, b'a dog ' * 20_000, {}, 'bad_caption'),
        ({}, b'\x80\x81\x82 dog', {}, 'bad_caption'),
        ({}, b'a dog', dict(caption_field='alt'), 'missing_caption'),
        (dict(alt=' '), b'a dog', dict(caption_field='alt'), 'empty_caption'),
    ],
)
def test_bad_text(write_tar, fields, caption, kwargs, reason):
    dataset = CaptionShardsDataset(fields_shard(write_tar, fields, caption), **kwargs)
    assert dataset.prepare_data(0) is None
    assert dataset.skipped_keys == {reason: ['s.tar/1']}


def test_captions_that_are_no_utf8_or_begin_with_a_mark(write_tar):
    path = fields_shard(write_tar, {}, 'café 🐱'.encode('utf-8-sig'))
    assert CaptionShardsDataset(path)[0]['caption'] == 'café 🐱'
    path = fields_shard(write_tar, {}, 'café'.encode('latin-1'))
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
    assert datasets[0][5] == datasets[1][5]


def test_indices_and_subsets(root):
    dataset = CaptionShardsDataset('*.tar', data_root=root, indices=[5, 0])
    assert [dataset[i]['caption'] for i in range(2)] == ['the sea', 'a dog']
    dataset = CaptionShardsDataset('*.tar', data_root=root, indices=3)
    assert [dataset[i]['caption'] for i in range(3)] == ['a dog', 'a cat', 'a red car']
    assert dataset.get_subset([2])[0]['caption'] == 'a red car'


def test_pickled_dataset_reads_the_same(root):
    dataset = CaptionShardsDataset('*.tar', data_root=root)
    expected = dataset[4]
    assert pickle.loads(pickle.dumps(dataset))[4] == expected


def test_shard_samples_is_a_sequence(root, tmp_path):
    samples = ShardSamples([scan_shard(str(tmp_path / f'{i:05d}.tar')) for i in range(3)])
    keys = [sample['sample_key'][-2:] for sample in samples]
    assert keys == ['00', '01', '10', '20', '21', '22']
    assert [s['sample_key'][-2:] for s in samples[1:4]] == keys[1:4]
    assert samples[-1]['sample_key'].endswith('22')
    assert samples[::2][1]['sample_key'].endswith('10')
    with pytest.raises(IndexError):
        samples[6]
