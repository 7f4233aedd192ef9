import json

import pytest

from code_mm.datasets.preparation import noun_extraction
from code_mm.datasets.preparation.noun_extraction import NounExtraction
from code_mm.datasets.shards.shard_index import ShardLayout
from code_mm.nouns import NounSelector
from code_mm.nouns.noun_cache import NounTable, caption_checksum

CAPTIONS = ['a dog and a cat', 'Running quickly!', 'Une chatte &amp; ses moustaches “café” 🐱']


@pytest.fixture
def shard(write_pairs):
    return write_pairs('00000.tar', CAPTIONS)


def nouns_in(file):
    return {key: nouns for key, nouns, _ in NounTable(str(file)).rows()}


@pytest.mark.parametrize('word_type', ['noun', 'noun_phrase'])
def test_nouns_of_a_shard(shard, tmp_path, word_type):
    result = NounExtraction(tagger='textblob', word_type=word_type).tag_shard(shard)
    assert (result[:3], result.seconds > 0) == ((3, 1, 0), True)
    table = NounTable(str(tmp_path / '00000.nouns.arrow'))
    selector = NounSelector('textblob', word_type)
    assert list(table.rows()) == [
        (f'{i:07d}', selector(caption), caption_checksum(caption))
        for i, caption in enumerate(CAPTIONS)
    ]
    assert table.settings[:2] == ('textblob', word_type)


def test_only_what_has_changed_is_tagged_again(write_pairs, shard, tmp_path):
    extraction = NounExtraction(tagger='textblob')
    assert not extraction.is_done(shard)
    extraction.tag_shard(shard)
    assert extraction.is_done(shard)
    other = dict(layout=ShardLayout(caption='json'), caption_field='caption')
    for options in (dict(word_type='noun_phrase'), other):
        assert not NounExtraction(tagger='textblob', **options).is_done(shard)
    file = tmp_path / '00000.nouns.arrow'
    file.write_bytes(file.read_bytes()[:-50])  # damaged
    assert not extraction.is_done(shard)
    write_pairs('00000.tar', ['a bird', 'a boat'])
    extraction.tag_shard(shard)
    assert extraction.is_done(shard)
    assert nouns_in(file) == {'0000000': ['bird'], '0000001': ['boat']}


def test_captions_of_a_json_field(write_tar, tmp_path):
    members = {'1.jpg': b'image', '1.json': json.dumps(dict(alt='a boat')).encode()}
    members |= {'2.jpg': b'image', '2.json': b'{"alt": ', '3.jpg': b'i', '3.json': b'{"alt": 7}'}
    path = write_tar('s.tar', members)
    layout = ShardLayout(caption='json')
    extraction = NounExtraction(tagger='textblob', layout=layout, caption_field='alt')
    assert extraction.tag_shard(path)[:3] == (3, 2, 2)
    assert nouns_in(tmp_path / 's.nouns.arrow') == {'1': ['boat'], '2': [], '3': []}


def test_lists_are_tagged_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(noun_extraction, '_ROWS_PER_PART', 2)
    lines = [f'a dog and {noun}' for noun in ('sea', 'car', 'cup')]
    path = tmp_path / 'a.tsv'
    path.write_text('\n'.join(['caption\timage', *(f'{line}\tx' for line in lines), 'a\tb\tc']))
    extraction = NounExtraction(tagger='textblob')
    skips = []
    first, second = extraction.list_parts(str(path), skips)
    assert [key for key, _ in first.rows + second.rows] == ['a.tsv:2', 'a.tsv:3', 'a.tsv:4']
    assert [skip.key for skip in skips] == ['a.tsv:5']
    extraction.tag_part(first)
    # killed here, and started again
    parts = list(extraction.list_parts(str(path), []))
    assert [extraction.tag_part(part).captions for part in parts] == [0, 1]
    assert not extraction.is_done(str(path))
    assert extraction.join_parts(str(path), 2) == str(tmp_path / 'a.nouns.arrow')
    assert extraction.is_done(str(path))
    assert nouns_in(tmp_path / 'a.nouns.arrow') == {
        f'a.tsv:{row}': ['dog', noun] for row, noun in enumerate(('sea', 'car', 'cup'), start=2)
    }
    assert sorted(p.name for p in tmp_path.iterdir()) == ['a.nouns.arrow', 'a.tsv']
