import pytest
from torch.utils.data import DataLoader

from code_mm.datasets.captions import (
    CaptionListDataset,
    CaptionShardsDataset,
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
        settings = NounSettings('textblob', word_type, [])
        write_nouns(nouns_file(str(tmp_path / source)), keys, NOUNS, checksums, settings)

    return write_cache


@pytest.fixture
def shard(write_pairs):
    return write_pairs('s.tar', CAPTIONS)


LOAD = dict(type='LoadNouns', cache='beside', tagger='textblob')


def counts(dataset):
    return dataset.pipeline.transforms[0].cache.counts()


def test_random_access_by_workers_that_share_the_counts(write, shard):
    write(keys=['x', *KEYS[1:]])
    dataset = CaptionShardsDataset(shard, pipeline=[LOAD])
    loader = DataLoader(dataset, batch_size=1, num_workers=2, collate_fn=lambda rows: rows[0])
    # what the cache lacks is tagged
    assert [sample['nouns'] for sample in loader] == [['dog'], *NOUNS[1:]]
    assert counts(dataset) == dict(found=3, missing=1, changed=0)


def test_nouns_of_the_sample_come_first(write, write_tar):
    write(keys=['1', 'b', 'c', 'd'])
    members = {'1.jpg': b'image', '1.txt': b'a dog', '1.json': b'{"nouns": ["own"]}'}
    path = write_tar('s.tar', members)
    assert CaptionShardsDataset(path, pipeline=[LOAD])[0]['nouns'] == ['own']
    other = CaptionShardsDataset(path, nouns_field=None, pipeline=[LOAD])
    assert other[0]['nouns'] == NOUNS[0]


def test_list(write, tmp_path):
    rows = [f'{i}.jpg,{caption}' for i, caption in enumerate(CAPTIONS)]
    (tmp_path / 'a.csv').write_text('\n'.join(['image,caption', *rows, '4.jpg,a bird']))
    write('a.csv', [f'a.csv:{line}' for line in range(2, 6)])
    dataset = CaptionListDataset('a.csv', data_root=str(tmp_path), pipeline=[LOAD])
    assert [dataset[i]['nouns'] for i in range(5)] == [*NOUNS, ['bird']]
    assert counts(dataset) == dict(found=4, missing=1, changed=0)


def test_mistakes(write, shard):
    write(word_type='noun_phrase')
    with pytest.raises(ValueError, match="word_type='noun', as LoadNouns has it"):
        CaptionShardsDataset(shard, pipeline=[LOAD])[0]
    with pytest.raises(FileNotFoundError, match=r'/nowhere/s\.nouns\.arrow'):
        CaptionShardsDataset(shard, pipeline=[dict(LOAD, cache='/nowhere')])[0]


def test_ignored_words_are_no_nouns(write, shard):
    sample = dict(caption='The front of a group of dogs')
    nouns = {
        str(ignored): LoadNouns(tagger='textblob', ignored=ignored).transform(dict(sample))['nouns']
        for ignored in ((), 'no_things', ['DOGS'])
    }
    assert list(nouns.values()) == [['front', 'group', 'dogs'], ['dogs'], ['front', 'group']]
    write()  # of the cache and of the sample, too
    dataset = CaptionShardsDataset(shard, pipeline=[{**LOAD, 'ignored': ['Hound', '犬']}])
    assert [sample['nouns'] for sample in dataset] == [[], ['coffee house'], [], ['vehicle']]
    own = LoadNouns(tagger='textblob', ignored='no_things').transform(dict(sample, nouns=['top']))
    assert own['nouns'] == []
