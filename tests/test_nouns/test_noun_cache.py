import copy
import json
import pickle
from pathlib import Path

import pyarrow as pa
import pytest

from code_mm.nouns import noun_cache
from code_mm.nouns.noun_cache import NounCache, NounSettings, NounTable, nouns_file, write_nouns

SETTINGS = NounSettings('textblob', 'noun', [1, 2])
CAPTIONS = ['a dog', 'Café / 犬', 'running', 'a red car']
# Not what a tagger would find, so that a test can tell where nouns came from.
NOUNS = [['hound', 'leash'], ['犬', 'coffee house'], [], ['vehicle']]
KEYS = ['0000007', 'é/1', '0000001', 'a.csv:12']


@pytest.fixture
def write(tmp_path):
    def write_cache(name='s.tar'):
        """Path of a shard, and its nouns file, which is written."""
        file = nouns_file(str(tmp_path / name))
        write_nouns(file, KEYS, NOUNS, list(map(noun_cache.caption_checksum, CAPTIONS)), SETTINGS)
        return str(tmp_path / name), Path(file)

    return write_cache


@pytest.fixture
def log(monkeypatch):
    lines = []
    monkeypatch.setattr(noun_cache, 'print_log', lambda line, **_: lines.append(line))
    return lines


def arrow(nouns='nouns', settings=None):
    """An Arrow file of another program, or of another version, as bytes."""
    columns = {'key': ['a'], nouns: [['dog']], 'caption_crc': pa.array([0xBC2FE6B1], pa.uint32())}
    metadata = settings and dict(code_mm=json.dumps(settings))
    table, sink = pa.table(columns).replace_schema_metadata(metadata), pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def test_finds_by_key(write):
    shard, file = write()
    cache = NounCache(tagger='textblob')
    for row in (3, 0, 2, 1, 0):
        assert cache.find(shard, KEYS[row], f' {CAPTIONS[row]}\n') == NOUNS[row]
    assert cache.counts() == dict(found=5, missing=0, changed=0)
    table = NounTable(str(file))
    assert [key for key, *_ in table.rows()] == sorted(KEYS)
    assert len(table) == 4 and table.settings == SETTINGS
    write()  # in mid-run, as extract_nouns.py does: a new file of this name
    assert cache.find(shard, KEYS[3], CAPTIONS[3]) == NOUNS[3]


def test_files_of_the_version_before_are_read(tmp_path):
    """Commit 832f570 also noted the versions of the packages that tagged."""
    settings = dict(tagger='textblob', word_type='noun', versions=dict(code_mm='1'), source=[7])
    (tmp_path / 's.nouns.arrow').write_bytes(arrow(settings=settings))
    cache = NounCache(tagger='textblob')
    assert cache.find(str(tmp_path / 's.tar'), 'a', 'a dog') == ['dog']
    found = NounTable(str(tmp_path / 's.nouns.arrow')).settings
    assert found == NounSettings('textblob', 'noun', [7])  # so it is not made again


def test_unknown_and_changed_captions_are_counted_and_said_once(write, tmp_path, log):
    shard, _ = write()
    cache = NounCache()
    for key in ('', '0000002', 'zz'):
        assert cache.find(shard, key, 'a dog') is None
    assert cache.find(shard, KEYS[0], 'a cat') is None
    assert cache.find(shard, KEYS[3], 'a blue car') is None
    assert cache.find(str(tmp_path / 't.tar'), KEYS[0], 'a dog') is None
    assert cache.counts() == dict(found=0, missing=4, changed=2)
    expected = ('no nouns', 'not the one that was tagged', 't.nouns.arrow')
    for line, text in zip(log, expected, strict=True):
        assert text in line and 'extract_nouns.py' in line


def shift_offsets(data):
    place = data.index(b'0000001'.ljust(8, b'0')) - 16  # in front of the keys' text
    return data[: place - 8] + b'\xff' * 24 + data[place + 16 :]


DAMAGES = dict(
    cut=lambda data: data[:-9],
    offsets=shift_offsets,
    empty=lambda _: b'',
    columns=lambda _: arrow('words', SETTINGS._asdict()),
    settings=lambda _: arrow(),
)


@pytest.mark.parametrize('damage', DAMAGES.values(), ids=DAMAGES)
def test_damaged_and_foreign_files_are_said_and_not_used(write, log, damage):
    shard, file = write()
    file.write_bytes(damage(file.read_bytes()))
    cache = NounCache()
    for _ in range(2):
        assert cache.find(shard, KEYS[0], CAPTIONS[0]) is None
    assert cache.counts()['missing'] == 2
    assert 'is damaged or of another program' in log[0]


@pytest.mark.parametrize(
    ('wanted', 'message'),
    [
        (dict(tagger='nltk'), "made with tagger='nltk', as LoadNouns.*'textblob'.*--tagger nltk"),
        (dict(tagger=dict(type='nltk', x=1)), "tagger={'type': 'nltk', 'x': 1}, as LoadNouns"),
        (dict(word_type='noun_phrase'), "word_type='noun' in LoadNouns.*--word-type noun_phrase"),
    ],
)
def test_other_settings_are_an_error(write, wanted, message):
    shard, _ = write()
    with pytest.raises(ValueError, match=message):
        NounCache(**wanted).find(shard, KEYS[0], CAPTIONS[0])


def test_names_of_the_files(tmp_path):
    assert nouns_file('/a/b/00000.tar') == '/a/b/00000.nouns.arrow'
    assert nouns_file('https://x/y/00000.tar?token=a/b', 'c') == 'c/00000.nouns.arrow'
    with pytest.raises(ValueError, match='give the folder of the nouns files'):
        nouns_file('s3://x/y/00000.tar')
    for folder in (None, str(tmp_path / 'nowhere')):
        with pytest.raises(FileNotFoundError, match=r'a\.nouns\.arrow.*extract_nouns'):
            NounCache(folder).find(str(tmp_path / 'a.tar'), 'k', 'c')


def test_few_maps_are_kept_and_copies_work(write, monkeypatch):
    monkeypatch.setattr(noun_cache, '_MAX_OPEN', 2)
    shards = [write(f'{number}.tar')[0] for number in range(5)]
    cache = NounCache()
    for shard in [*shards, *shards]:
        assert cache.find(shard, KEYS[3], 'a red car') == ['vehicle']
    assert len(cache._tables) == 2
    for twin in (pickle.loads(pickle.dumps(cache)), copy.deepcopy(cache)):
        assert twin.find(shards[0], KEYS[3], 'a red car') == ['vehicle']
