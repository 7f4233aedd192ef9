import pytest
from torch.utils.data import DataLoader

from code_mm.datasets.captions import (
    CaptionListDataset,
    CaptionShardsDataset,
    CaptionStreamDataset,
)
from code_mm.datasets.transforms import LoadNouns
from code_mm.nouns.noun_cache import NounSettings, caption_checksum, nouns_file, write_nouns

CAPTIONS = ['a dog', 'Café / 犬', 'running', 'a red car']
# Not what a tagger would find, so that a test can tell where nouns came from.
NOUNS = [['hound'], ['犬', 'coffee house'], [], ['vehicle']]
KEYS = [f'{number:07d}' for number in range(4)]


@pytest.fixture
def write(tmp_path):
    def write_cache(source='s.tar', keys=KEYS, word_type='noun'):
        checksums = list(map(caption_checksum, CAPTIONS))
        settings = NounSettings('textblob', word_type, {}, [])
        write_nouns(nouns_file(str(tmp_path / source)), keys, NOUNS, checksums, settings)

    return write_cache


@pytest.fixture
def shard(write_pairs):
    return write_pairs('s.tar', CAPTIONS)


def load(cache='beside', num_nouns=1, **kwargs):
    load_nouns = dict(type='LoadNouns', cache=cache, tagger='textblob', **kwargs)
    return [load_nouns, dict(type='SelectNouns', num_nouns=num_nouns)]


def counts(dataset):
    return dataset.pipeline.transforms[0].cache.counts()


def test_tagged_in_the_captions_order():
    transform = LoadNouns(tagger='textblob')
    assert transform(dict(caption='a dog and a cat on the sofa'))['nouns'] == ['dog', 'cat', 'sofa']
    phrases = LoadNouns(tagger='textblob', word_type='noun_phrase')
    assert phrases(dict(caption='a red ball'))['nouns'] == ['red ball']
    assert repr(phrases) == "LoadNouns(cache=None, tagger='textblob', word_type='noun_phrase')"


def test_random_access(write, shard):
    write()
    dataset = CaptionShardsDataset(shard, pipeline=load(), test_mode=True)
    for index in (3, 0, 1):
        assert dataset[index]['nouns'] == NOUNS[index]
    assert dataset.prepare_data(2) is None
    assert dataset.skipped == {'few_nouns': 1}
    assert counts(dataset) == dict(found=4, missing=0, changed=0)


def test_what_the_cache_lacks_is_tagged(write, shard):
    write(keys=['x', *KEYS[1:]])
    dataset = CaptionShardsDataset(shard, pipeline=load())
    assert dataset[0]['nouns'] == ['dog']
    assert dataset[3]['nouns'] == ['vehicle']
    assert counts(dataset) == dict(found=1, missing=1, changed=0)


def test_nouns_of_the_sample_come_first(write, write_tar):
    write(keys=['1', 'b', 'c', 'd'])
    members = {'1.jpg': b'image', '1.txt': b'a dog', '1.json': b'{"nouns": ["own"]}'}
    path = write_tar('s.tar', members)
    assert CaptionShardsDataset(path, pipeline=load())[0]['nouns'] == ['own']
    other = CaptionShardsDataset(path, nouns_field=None, pipeline=load())
    assert other[0]['nouns'] == NOUNS[0]


def test_stream(write, shard):
    write(keys=['x', *KEYS[1:]])
    dataset = CaptionStreamDataset(
        dict(shards=shard), load(), repeat=False, shuffle_shards=False, shuffle_buffer=0
    )
    assert [sample['nouns'] for sample in dataset] == [['dog'], NOUNS[1], NOUNS[3]]
    assert counts(dataset) == dict(found=3, missing=1, changed=0)


def test_list(write, tmp_path):
    rows = [f'{i}.jpg,{caption}' for i, caption in enumerate(CAPTIONS)]
    (tmp_path / 'a.csv').write_text('\n'.join(['image,caption', *rows, '4.jpg,a bird']))
    write('a.csv', [f'a.csv:{line}' for line in range(2, 6)])
    dataset = CaptionListDataset('a.csv', data_root=str(tmp_path), pipeline=load()[:1])
    assert [dataset[i]['nouns'] for i in range(5)] == [*NOUNS, ['bird']]
    assert counts(dataset) == dict(found=4, missing=1, changed=0)


def test_loader_workers_share_the_counts(write, shard):
    write()
    dataset = CaptionShardsDataset(shard, pipeline=load()[:1])
    loader = DataLoader(dataset, batch_size=1, num_workers=2, collate_fn=lambda rows: rows[0])
    assert [sample['nouns'] for sample in loader] == NOUNS
    assert counts(dataset) == dict(found=4, missing=0, changed=0)


def test_mistakes(write, shard):
    write(word_type='noun_phrase')
    with pytest.raises(ValueError, match="word_type='noun', as LoadNouns has it"):
        CaptionShardsDataset(shard, pipeline=load())[0]
    with pytest.raises(FileNotFoundError, match=r'/nowhere/s\.nouns\.arrow'):
        CaptionShardsDataset(shard, pipeline=load('/nowhere'))[0]
    with pytest.raises(ValueError, match='expected word_type'):
        LoadNouns(tagger='textblob', word_type='verb')
    with pytest.raises(ValueError, match='expected tagger'):
        LoadNouns(tagger='spacy')
