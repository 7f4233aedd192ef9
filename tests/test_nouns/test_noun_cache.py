import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader

from code_mm.datasets.captions import CaptionListDataset, CaptionShardsDataset
from code_mm.nouns import noun_cache
from code_mm.nouns.noun_cache import NounCache, open_noun_cache
from code_mm.nouns.noun_rows import rows_file, rows_fit, write_noun_rows
from code_mm.nouns.noun_table import (
    NounSettings,
    caption_checksum,
    nouns_file,
    read_noun_table,
    read_settings,
    write_noun_table,
)

SETTINGS = NounSettings('textblob', 'noun', {'textblob': '1'}, [1, 2])
CAPTIONS = ['a dog', 'Café / 犬', 'running', 'a red car']
# Not what a tagger would find, so that a test can tell where nouns came from.
NOUNS = [['hound', 'leash'], ['犬', 'coffee house'], [], ['vehicle']]
KEYS = [f'{number:07d}' for number in range(4)]


@pytest.fixture
def write(tmp_path):
    def write_cache(source='s.tar', keys=KEYS, rows=True, settings=SETTINGS):
        file = nouns_file(str(tmp_path / source))
        write_noun_table(file, keys, NOUNS, list(map(caption_checksum, CAPTIONS)), settings)
        if rows:
            write_noun_rows(file)
        return file

    return write_cache


@pytest.fixture
def log(monkeypatch):
    lines = []
    monkeypatch.setattr(noun_cache, 'print_log', lambda line, **_: lines.append(line))
    return lines


@pytest.mark.parametrize('rows', [True, False])
def test_finds_by_key_and_by_row(write, tmp_path, rows):
    write(rows=rows)
    shard = str(tmp_path / 's.tar')
    cache = NounCache(tagger='textblob', word_type='noun')
    assert dict(cache.nouns_of_shard(shard)) == dict(zip(KEYS, NOUNS, strict=True))
    for row in (3, 0, 2, 1):
        for asked in (row, None, 0, 99):  # a wrong row costs time only
            found = cache.find(shard, KEYS[row], f' {CAPTIONS[row]}\n', asked)
            assert found == NOUNS[row]
    assert cache.counts() == dict(found=16, missing=0, changed=0)


def test_unknown_and_changed_captions_are_counted(write, tmp_path, log):
    write()
    cache, shard = NounCache(), str(tmp_path / 's.tar')
    assert cache.find(shard, 'other', 'a dog', 0) is None
    assert cache.find(str(tmp_path / 't.tar'), KEYS[0], 'a dog', 0) is None
    assert log == []
    assert cache.find(shard, KEYS[0], 'a cat', 0) is None
    assert cache.find(shard, KEYS[3], 'a blue car') is None
    assert cache.counts() == dict(found=0, missing=2, changed=2)
    assert len(log) == 1
    assert f's.tar/{KEYS[0]} is not the one that was tagged' in log[0]


def test_row_file_of_an_older_parquet_file_is_not_used(write, tmp_path, log):
    file = write()
    cache, shard = NounCache(), str(tmp_path / 's.tar')
    write_noun_table(file, KEYS, [['new']] * 4, list(map(caption_checksum, CAPTIONS)), SETTINGS)
    assert not rows_fit(file)
    assert cache.check([shard], rows_wanted=True) == []
    assert 'looking nouns up will be slow' in log[0]
    assert cache.find(shard, KEYS[1], CAPTIONS[1], 1) == ['new']


def test_row_file_that_shrinks_in_mid_run(write, tmp_path):
    file = write()
    cache, shard = NounCache(), str(tmp_path / 's.tar')
    assert cache.find(shard, KEYS[0], CAPTIONS[0], 0) == NOUNS[0]
    with open(rows_file(file), 'r+b') as stream:
        stream.truncate(150)
    assert cache.find(shard, KEYS[3], CAPTIONS[3], 3) == NOUNS[3]  # from the parquet file


def test_nouns_of_another_tool(tmp_path):
    table = pa.table(dict(key=['a', 'b'], nouns=[['x'], None], more=[1, 2]))
    pq.write_table(table, tmp_path / 's.nouns.parquet')
    shard = str(tmp_path / 's.tar')
    for _ in range(2):
        cache = NounCache(tagger='nltk', word_type='noun')
        assert cache.find(shard, 'a', 'any caption', 0) == ['x']
        assert cache.find(shard, 'b', 'any caption', 1) is None  # null: not known
        assert cache.counts() == dict(found=1, missing=1, changed=0)
        write_noun_rows(str(tmp_path / 's.nouns.parquet'))


@pytest.mark.parametrize('rows', [True, False])
def test_other_settings_are_an_error(write, tmp_path, rows):
    file, shard = write(rows=rows), str(tmp_path / 's.tar')
    assert read_settings(file) == SETTINGS
    NounCache(tagger='auto', word_type='noun').check([shard])
    for wanted, message in (
        (
            dict(tagger='nltk'),
            "made with tagger='nltk', as SelectNouns .*'textblob'.*--tagger nltk",
        ),
        (dict(word_type='noun_phrase'), "word_type='noun'; set .*--word-type noun_phrase"),
    ):
        with pytest.raises(ValueError, match=message):
            NounCache(**wanted).check([shard])
        with pytest.raises(ValueError, match=message):
            NounCache(**wanted).find(shard, KEYS[0], CAPTIONS[0], 0)


def test_missing_files_are_told_at_the_start(write, tmp_path, log):
    write('b.tar')
    shards = [str(tmp_path / f'{name}.tar') for name in 'abc']
    cache = NounCache()
    assert cache.check(shards) == [shards[0], shards[2]]
    assert '2 of 3 shards have no nouns file, the first is' in log[0]
    assert cache.check([]) == []
    with pytest.raises(FileNotFoundError, match=r'c\.nouns\.parquet.*extract_nouns'):
        cache.check(shards[2:])


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'no parquet', 'to be a parquet file'),
        (dict(key=['a'], words=[['b']]), r"columns key and nouns.*\['key', 'words'\]"),
        (dict(key=['a'], nouns=['b']), 'columns key and nouns'),
    ],
)
def test_files_that_hold_no_nouns(tmp_path, content, message):
    file = tmp_path / 's.nouns.parquet'
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        pq.write_table(pa.table(content), file)
    with pytest.raises(ValueError, match=message):
        NounCache().check([str(tmp_path / 's.tar')])
    with pytest.raises(ValueError, match=message):
        read_noun_table(str(file))


def test_names_of_the_files():
    assert nouns_file('/a/b/00000.tar') == '/a/b/00000.nouns.parquet'
    assert nouns_file('/a/b/00000.tar', 'c') == 'c/00000.nouns.parquet'
    assert nouns_file('s3://x/y/00000.tar', 'c') == 'c/00000.nouns.parquet'
    assert nouns_file('https://x/y/00000.tar?token=a/b', 'c') == 'c/00000.nouns.parquet'
    assert nouns_file('x/captions.csv') == 'x/captions.nouns.parquet'
    with pytest.raises(ValueError, match='give the folder of the nouns files'):
        nouns_file('s3://x/y/00000.tar')


def test_memory_is_bounded_and_pickled_caches_work(write, tmp_path):
    for number in range(5):
        write(f'{number}.tar')
    cache = NounCache(max_shards=2)
    for number in range(5):
        assert cache.find(str(tmp_path / f'{number}.tar'), KEYS[3], 'a red car') == ['vehicle']
    assert len(cache._tables) == 2
    copy = pickle.loads(pickle.dumps(cache))
    assert copy.find(str(tmp_path / '0.tar'), KEYS[3], 'a red car', 3) == ['vehicle']


def test_key_of_the_data_sets():
    assert open_noun_cache(None, []) is None
    assert open_noun_cache('beside', []).folder is None
    assert open_noun_cache('/x', []).folder == '/x'


PIPELINE = [dict(type='SelectNouns', num_nouns=1, tagger='textblob')]


@pytest.fixture
def shard(write_pairs, tmp_path):
    return write_pairs('s.tar', CAPTIONS)


def test_random_access_data_set(write, shard):
    init_default_scope('mmseg')
    write()
    dataset = CaptionShardsDataset(shard, noun_cache='beside', pipeline=PIPELINE, test_mode=True)
    for index in (3, 0, 1):
        assert dataset[index]['nouns'] == NOUNS[index]
    assert dataset.prepare_data(2) is None
    assert dataset.skipped == {'few_nouns': 1}
    assert dataset.noun_cache_counts == dict(found=4, missing=0, changed=0)


def test_what_the_cache_lacks_is_tagged(write, shard):
    init_default_scope('mmseg')
    write(keys=['x', *KEYS[1:]])
    dataset = CaptionShardsDataset(shard, noun_cache='beside', pipeline=PIPELINE)
    assert dataset[0]['nouns'] == ['dog']
    assert dataset[3]['nouns'] == ['vehicle']
    assert dataset.noun_cache_counts == dict(found=1, missing=1, changed=0)
    assert CaptionShardsDataset(shard, pipeline=PIPELINE).noun_cache_counts == {}


def test_nouns_of_the_sample_come_first(write, write_tar):
    init_default_scope('mmseg')
    write(keys=['1', 'b', 'c', 'd'])
    members = {'1.jpg': b'image', '1.txt': b'a dog', '1.json': b'{"nouns": ["own"]}'}
    path = write_tar('s.tar', members)
    dataset = CaptionShardsDataset(path, noun_cache='beside')
    assert dataset[0]['nouns'] == ['own']
    assert CaptionShardsDataset(path, noun_cache='beside', nouns_field=None)[0]['nouns'] == NOUNS[0]


def test_loader_workers_share_the_counts(write, shard):
    init_default_scope('mmseg')
    write()
    dataset = CaptionShardsDataset(shard, noun_cache='beside')
    loader = DataLoader(dataset, batch_size=1, num_workers=2, collate_fn=lambda rows: rows[0])
    nouns = [sample['nouns'] for sample in loader]
    assert nouns == NOUNS
    assert dataset.noun_cache_counts == dict(found=4, missing=0, changed=0)


def test_a_cache_of_another_tagger_stops_the_data_set(write, shard):
    init_default_scope('mmseg')
    write(settings=SETTINGS._replace(word_type='noun_phrase'))
    with pytest.raises(ValueError, match="word_type='noun', as SelectNouns has it"):
        CaptionShardsDataset(shard, noun_cache='beside', pipeline=PIPELINE)


def test_list_data_set(write, tmp_path):
    init_default_scope('mmseg')
    keys = [f'a.csv:{line}' for line in range(2, 6)]
    rows = [f'{i}.jpg,{caption}' for i, caption in enumerate(CAPTIONS)]
    (tmp_path / 'a.csv').write_text('\n'.join(['image,caption', *rows, '4.jpg,a bird']))
    write('a.csv', keys, rows=False)
    dataset = CaptionListDataset('a.csv', data_root=str(tmp_path), noun_cache='beside')
    assert [dataset[i].get('nouns') for i in range(5)] == [*NOUNS, None]
    assert dataset.noun_cache_counts == dict(found=4, missing=1, changed=0)
    with pytest.raises(FileNotFoundError, match=r'/nowhere/a\.nouns\.parquet'):
        CaptionListDataset('a.csv', data_root=str(tmp_path), noun_cache='/nowhere')


def test_counts_of_many_workers_do_not_overwrite_each_other(monkeypatch):
    cache = NounCache()
    for worker in range(3):
        info = type('Info', (), dict(id=worker))
        monkeypatch.setattr(noun_cache, 'get_worker_info', lambda info=info: info)
        cache.find('/none/a.tar', 'k', 'c')
    assert cache._counts[1:4, 1].tolist() == [1, 1, 1]
    assert cache._counts.is_shared()
    assert torch.equal(cache._counts.sum(0), torch.tensor([0, 3, 0]))
