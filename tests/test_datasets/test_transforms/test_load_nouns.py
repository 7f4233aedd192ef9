"""Where nouns come from; the cache itself: tests/test_nouns/test_noun_cache.py."""

import pytest
from torch.utils.data import DataLoader

from code_mm.datasets.captions import CaptionListDataset, CaptionShardsDataset
from code_mm.datasets.transforms import LoadNouns
from code_mm.nouns.noun_cache import NounSettings, caption_checksum, write_nouns

CAPTIONS = ['a dog', 'Café / 犬', 'running', 'a red car']
# Not what a tagger would find, so that a test can tell where nouns came from.
NOUNS = [['hound'], ['犬', 'coffee house'], [], ['vehicle']]
LOAD = dict(type='LoadNouns', cache='beside', tagger='textblob')


def write_cache(file, *keys):
    checksums = list(map(caption_checksum, CAPTIONS))
    write_nouns(str(file), keys, NOUNS, checksums, NounSettings('textblob', 'noun', []))


def counts(dataset):
    return dataset.pipeline.transforms[0].cache.counts()


def test_shards_by_workers_that_share_the_counts(tmp_path, write_pairs):
    write_cache(tmp_path / 's.nouns.arrow', 'x', '0000001', '0000002', '0000003')
    dataset = CaptionShardsDataset(write_pairs('s.tar', CAPTIONS), pipeline=[LOAD])
    loader = DataLoader(dataset, batch_size=1, num_workers=2, collate_fn=lambda rows: rows[0])
    # what the cache lacks is tagged
    assert [sample['nouns'] for sample in loader] == [['dog'], *NOUNS[1:]]
    assert counts(dataset) == dict(found=3, missing=1, changed=0)


def test_nouns_of_the_sample_come_first(tmp_path, write_tar):
    write_cache(tmp_path / 's.nouns.arrow', '1', 'b', 'c', 'd')
    members = {'1.jpg': b'image', '1.txt': b'a dog', '1.json': b'{"nouns": ["own"]}'}
    path = write_tar('s.tar', members)
    assert CaptionShardsDataset(path, pipeline=[LOAD])[0]['nouns'] == ['own']
    other = CaptionShardsDataset(path, nouns_field=None, pipeline=[LOAD])
    assert other[0]['nouns'] == NOUNS[0]
    for keys, error in (
        (dict(word_type='noun_phrase'), ValueError),  # than that of the cache
        (dict(tagger='code_mm.nouns.taggers.TextBlobTagger'), ValueError),
        (dict(cache='/nowhere'), FileNotFoundError),
    ):
        with pytest.raises(error, match='noun cache: expected'):
            CaptionShardsDataset(path, nouns_field=None, pipeline=[dict(LOAD, **keys)])[0]


def test_list(tmp_path):
    rows = [f'{i}.jpg,{caption}' for i, caption in enumerate(CAPTIONS)]
    (tmp_path / 'a.csv').write_text('\n'.join(['image,caption', *rows, '4.jpg,a bird']))
    write_cache(tmp_path / 'a.nouns.arrow', *(f'a.csv:{line}' for line in range(2, 6)))
    dataset = CaptionListDataset('a.csv', data_root=str(tmp_path), pipeline=[LOAD])
    assert [dataset[i]['nouns'] for i in range(5)] == [*NOUNS, ['bird']]
    assert counts(dataset) == dict(found=4, missing=1, changed=0)


def test_ignored_words_are_no_nouns(tmp_path, write_pairs):
    sample = dict(caption='The front of a group of dogs')
    nouns = [
        LoadNouns(tagger='textblob', ignored=ignored).transform(dict(sample))['nouns']
        for ignored in ((), 'no_things', ['DOGS'])
    ]
    assert nouns == [['front', 'group', 'dogs'], ['dogs'], ['front', 'group']]
    # of the cache, too
    write_cache(tmp_path / 's.nouns.arrow', '0000000', '0000001', '0000002', '0000003')
    shard = write_pairs('s.tar', CAPTIONS)
    dataset = CaptionShardsDataset(shard, pipeline=[{**LOAD, 'ignored': ['Hound', '犬']}])
    assert [sample['nouns'] for sample in dataset] == [[], ['coffee house'], [], ['vehicle']]
