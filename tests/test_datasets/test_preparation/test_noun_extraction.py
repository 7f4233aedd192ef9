import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from code_mm.datasets.preparation import noun_extraction
from code_mm.datasets.preparation.noun_extraction import NounExtraction
from code_mm.datasets.shards.shard_index import ShardLayout
from code_mm.nouns import NounSelector
from code_mm.nouns.noun_rows import rows_file, rows_fit
from code_mm.nouns.noun_table import caption_checksum, read_noun_table, read_settings

CAPTIONS = ['a dog and a cat', 'Running quickly!', 'Une chatte &amp; ses moustaches “café” 🐱']


@pytest.fixture
def selected(monkeypatch):
    """Captions that were really tagged."""
    seen = []

    class Selector(NounSelector):
        def __call__(self, caption):
            seen.append(caption)
            return super().__call__(caption)

    monkeypatch.setattr(noun_extraction, 'NounSelector', Selector)
    return seen


@pytest.mark.parametrize('word_type', ['noun', 'noun_phrase'])
def test_nouns_of_a_shard(write_pairs, tmp_path, word_type):
    path = write_pairs('00000.tar', CAPTIONS)
    result = NounExtraction(tagger='textblob', word_type=word_type).tag_shard(path)
    assert result[:3] == (3, 1, 0)
    assert result.seconds > 0
    table = read_noun_table(str(tmp_path / '00000.nouns.parquet'))
    expected = list(map(NounSelector('textblob', word_type), CAPTIONS))
    assert dict(table) == {f'{i:07d}': nouns for i, nouns in enumerate(expected)}
    assert [table.entry(key)[1] for key in table] == list(map(caption_checksum, CAPTIONS))
    settings = read_settings(str(tmp_path / '00000.nouns.parquet'))
    assert (settings.tagger, settings.word_type) == ('textblob', word_type)
    assert set(settings.versions) == {'code_mm', 'textblob'}


def test_up_to_date_shards_are_not_tagged_again(write_pairs, tmp_path, selected):
    path = write_pairs('00000.tar', CAPTIONS)
    out = tmp_path / 'nouns'
    out.mkdir()
    extraction = NounExtraction(str(out), 'textblob')
    assert not extraction.is_done(path)
    extraction.tag_shard(path)
    assert extraction.is_done(path)
    assert not NounExtraction(str(out), 'textblob', 'noun_phrase').is_done(path)
    other = ShardLayout(caption='json')
    assert not NounExtraction(str(out), 'textblob', layout=other, caption_field='caption').is_done(
        path
    )
    # killed between the two files: nothing is tagged again
    os.unlink(rows_file(str(out / '00000.nouns.parquet')))
    assert not extraction.is_done(path)
    assert extraction.tag_shard(path).captions == 0
    assert extraction.is_done(path)
    assert len(selected) == 3
    # the shard changes
    write_pairs('00000.tar', ['a bird', 'a boat'])
    assert not extraction.is_done(path)
    extraction.tag_shard(path)
    assert dict(read_noun_table(str(out / '00000.nouns.parquet'))) == {
        '0000000': ['bird'],
        '0000001': ['boat'],
    }


def test_a_damaged_file_is_made_again(write_pairs, tmp_path):
    path = write_pairs('00000.tar', CAPTIONS)
    extraction = NounExtraction(tagger='textblob')
    extraction.tag_shard(path)
    file = tmp_path / '00000.nouns.parquet'
    file.write_bytes(file.read_bytes()[:50])
    assert not extraction.is_done(path)
    extraction.tag_shard(path)
    assert len(read_noun_table(str(file))) == 3


def test_an_error_leaves_no_file_and_no_row_file_of_an_older_one(
    write_pairs, tmp_path, monkeypatch
):
    path = write_pairs('00000.tar', CAPTIONS)
    extraction = NounExtraction(tagger='textblob')
    extraction.tag_shard(path)
    write_pairs('00000.tar', ['a bird'])

    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(noun_extraction, 'NounSelector', fail)
    with pytest.raises(KeyboardInterrupt):
        extraction.tag_shard(path)
    assert not rows_fit(str(tmp_path / '00000.nouns.parquet'))
    assert not list(tmp_path.glob('*.partial'))


def test_captions_of_a_json_field(write_tar, tmp_path):
    members = {'1.jpg': b'image', '1.json': json.dumps(dict(alt='a boat')).encode()}
    members |= {'2.jpg': b'image', '2.json': b'{"alt": ', '3.jpg': b'i', '3.json': b'{"alt": 7}'}
    path = write_tar('s.tar', members)
    extraction = NounExtraction(
        tagger='textblob', layout=ShardLayout(caption='json'), caption_field='alt'
    )
    assert extraction.tag_shard(path)[:3] == (3, 2, 2)
    assert dict(read_noun_table(str(tmp_path / 's.nouns.parquet'))) == {
        '1': ['boat'],
        '2': [],
        '3': [],
    }


def test_lists_are_tagged_in_parts(tmp_path, monkeypatch, selected):
    monkeypatch.setattr(noun_extraction, '_ROWS_PER_PART', 2)
    lines = [f'a dog and {noun}' for noun in ('sea', 'car', 'cup')]
    path = tmp_path / 'a.tsv'
    path.write_text('\n'.join(['caption\timage', *(f'{line}\tx' for line in lines), 'a\tb\tc']))
    extraction = NounExtraction(tagger='textblob')
    skips = []
    first, second = extraction.list_parts(str(path), 'caption', None, skips)
    assert [key for key, _ in first.rows + second.rows] == ['a.tsv:2', 'a.tsv:3', 'a.tsv:4']
    assert [skip.key for skip in skips] == ['a.tsv:5']
    extraction.tag_part(first)
    # killed here, and started again
    parts = list(extraction.list_parts(str(path), 'caption', None, []))
    results = [extraction.tag_part(part) for part in parts]
    assert [result.captions for result in results] == [0, 1]
    assert selected == lines
    assert not extraction.is_list_done(str(path), 'caption', None)
    assert extraction.join_parts(str(path), 2) == str(tmp_path / 'a.nouns.parquet')
    assert extraction.is_list_done(str(path), 'caption', None)
    assert not extraction.is_list_done(str(path), 'text', None)
    assert dict(read_noun_table(str(tmp_path / 'a.nouns.parquet'))) == {
        'a.tsv:2': ['dog', 'sea'],
        'a.tsv:3': ['dog', 'car'],
        'a.tsv:4': ['dog', 'cup'],
    }
    assert sorted(p.name for p in tmp_path.iterdir()) == ['a.nouns.parquet', 'a.tsv']


def test_nouns_of_another_program_are_kept(write_pairs, tmp_path, selected):
    path = write_pairs('00000.tar', CAPTIONS)
    own = pa.table(dict(key=['0000000'], nouns=[['mine']]))
    pq.write_table(own, tmp_path / '00000.nouns.parquet')
    assert NounExtraction(tagger='textblob').tag_shard(path).captions == 0
    assert selected == []
    assert dict(read_noun_table(str(tmp_path / '00000.nouns.parquet'))) == {'0000000': ['mine']}
