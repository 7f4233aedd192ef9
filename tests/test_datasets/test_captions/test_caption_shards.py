import json
import pickle
from itertools import islice

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
    assert (dataset.skipped, dataset.ledger.num_used) == ({}, 6)


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
    assert 'nouns' not in CaptionShardsDataset(path, nouns_field=None)[0]
    assert 'nouns' not in CaptionShardsDataset(fields_shard(dict(nouns=None)))[0]


@pytest.mark.parametrize(
    ('fields', 'caption', 'caption_field', 'reason'),
    [
        (b'{"nouns": [', b'a dog', None, 'bad_fields'),
        (b'[1]', b'a dog', None, 'bad_fields'),
        (b'[' * 100_000, b'a dog', None, 'bad_fields'),
        (dict(alt=['a dog', 3]), b'', 'alt', 'missing_caption'),
        (dict(nouns=[1]), b'a dog', None, 'bad_fields'),
        ({}, b' \n', None, 'empty_caption'),
        ({}, b'a dog ' * 20_000, None, 'bad_caption'),
        ({}, b'\x80\x81\x82 dog', None, 'bad_caption'),
        (dict(alt=3), b'a dog', 'alt', 'missing_caption'),
    ],
)
def test_bad_text_is_left_out_at_random_and_in_a_stream(
    fields_shard, fields, caption, caption_field, reason
):
    source = dict(shards=fields_shard(fields, caption), caption_field=caption_field)
    dataset = CaptionShardsDataset(**source)
    assert dataset.prepare_data(0) is None
    assert dataset.skipped_keys == {reason: ['s.tar/1']}
    stream = CaptionStreamDataset(source, [], repeat=False, max_bad_fraction=1)
    assert list(stream) == []
    assert stream.skipped == {reason: 1}


def test_lines_of_a_text_and_a_json_list_are_captions_of_which_one_is_drawn(fields_shard):
    path = fields_shard(dict(alt=['a dog', 'a cat']), b'a dog\r\n\r\n a cat \n')
    np.random.seed(0)
    for keys in ({}, dict(caption_field='alt')):
        shards = CaptionShardsDataset(path, **keys)
        stream = CaptionStreamDataset(dict(shards=path, **keys), [], shuffle_buffer=0)
        drawn = [shards[0]['caption'] for _ in range(20)]
        assert set(drawn) == {s['caption'] for s in islice(stream, 20)} == {'a dog', 'a cat'}


def test_captions_that_are_no_utf8_or_begin_with_a_mark(fields_shard):
    path = fields_shard({}, ' café 🐱\n'.encode('utf-8-sig'))
    assert CaptionShardsDataset(path)[0]['caption'] == 'café 🐱'
    assert CaptionShardsDataset(fields_shard({}, 'é'.encode('utf-16')))[0]['caption'] == 'é'
    path = fields_shard({}, 'café'.encode('latin-1'))
    assert CaptionShardsDataset(path)[0]['caption'] == 'caf\ufffd'


def test_what_is_no_set_of_shards(write_tar):
    path = write_tar('s.tar', {'1.jpg': b'a', '2.txt': b'b'})
    with pytest.raises(ValueError, match=r'found none .*missing_caption.*check image_extensions'):
        CaptionShardsDataset(path)
    with pytest.raises(ValueError, match='use CaptionStreamDataset'):
        CaptionShardsDataset('https://host/0.tar')


def test_index_dir_indices_and_copies(root, tmp_path):
    keys = dict(data_root=root, index_dir=str(tmp_path / 'index'), indices=[5, 0])
    first, second = (CaptionShardsDataset('*.tar', **keys) for _ in range(2))
    assert len(list((tmp_path / 'index').iterdir())) == 3
    assert [sample['caption'] for sample in first] == ['the sea', 'a dog']
    assert first[1] == second[1] == pickle.loads(pickle.dumps(first))[1]
