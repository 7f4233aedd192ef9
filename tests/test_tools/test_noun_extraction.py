import noun_extraction
from noun_extraction import NounExtraction

from code_mm.datasets.shards.shard_index import ShardLayout
from code_mm.nouns import NounSelector
from code_mm.nouns.noun_cache import NounTable, caption_checksum


def nouns_in(file):
    return {key: nouns for key, nouns, _ in NounTable(str(file)).rows()}


def test_only_what_has_changed_is_tagged_again(write_pairs, tmp_path):
    captions = ['a red cup on wood', 'Running quickly!', 'Une chatte &amp; son “café” 🐱']
    shard, file = write_pairs('00000.tar', captions), tmp_path / '00000.nouns.arrow'
    extraction = NounExtraction(tagger='textblob', word_type='noun_phrase')
    assert not extraction.is_done(shard)
    result = extraction.tag_shard(shard)
    assert (result[:3], result.seconds > 0) == ((3, 1, 0), True)
    assert extraction.is_done(shard)
    selector = NounSelector('textblob', 'noun_phrase')
    assert list(NounTable(str(file)).rows()) == [
        (f'{i:07d}', selector(caption), caption_checksum(caption))
        for i, caption in enumerate(captions)
    ]
    assert not NounExtraction(tagger='textblob', word_type='noun').is_done(shard)
    file.write_bytes(file.read_bytes()[:-50])  # damaged
    assert not extraction.is_done(shard)
    write_pairs('00000.tar', ['a bird', 'a boat'])
    extraction.tag_shard(shard)
    assert extraction.is_done(shard)
    assert nouns_in(file) == {'0000000': ['bird'], '0000001': ['boat']}


def test_captions_of_a_json_field(write_tar, tmp_path):
    members = {'1.jpg': b'image', '1.json': b'{"alt": "a boat"}', '1.txt': b'a car'}
    members |= {'2.jpg': b'image', '2.json': b'{"alt": ', '3.jpg': b'i', '3.json': b'{"alt": 7}'}
    path = write_tar('s.tar', members)
    keys = dict(layout=ShardLayout(caption='json'), caption_field='alt')
    extraction = NounExtraction(tagger='textblob', **keys)
    assert extraction.tag_shard(path)[:3] == (3, 2, 2) and extraction.is_done(path)
    assert not NounExtraction(tagger='textblob').is_done(path)
    assert nouns_in(tmp_path / 's.nouns.arrow') == {'1': ['boat'], '2': [], '3': []}


def test_lists_are_tagged_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(noun_extraction, '_ROWS_PER_PART', 2)
    path = tmp_path / 'a.tsv'
    path.write_text('caption\timage\na dog and sea\tx\na dog and car\tx\na dog and cup\tx\na\tb\tc')
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
    expected = {'a.tsv:2': ['dog', 'sea'], 'a.tsv:3': ['dog', 'car'], 'a.tsv:4': ['dog', 'cup']}
    assert nouns_in(tmp_path / 'a.nouns.arrow') == expected
    assert sorted(p.name for p in tmp_path.iterdir()) == ['a.nouns.arrow', 'a.tsv']
