import nltk
import pytest

from code_mm.nouns import taggers
from code_mm.nouns.taggers import build_tagger


@pytest.fixture(autouse=True)
def log(monkeypatch):
    lines = []
    monkeypatch.setattr(taggers, 'print_log', lambda message, **_: lines.append(message))
    build_tagger.cache_clear()
    yield lines
    build_tagger.cache_clear()


def no_data(*_, **__):
    raise LookupError('Resource punkt_tab not found')


def fake_nltk(monkeypatch):
    monkeypatch.setattr(nltk, 'word_tokenize', str.split)
    monkeypatch.setattr(nltk, 'pos_tag', lambda words: [(word, 'NN') for word in words])


def test_textblob_tags_without_data(log):
    tagged = dict(build_tagger('textblob')('a brown dog sleeps on two old sofas in Paris'))
    assert tagged['dog'] == 'NN'
    assert tagged['sofas'] == 'NNS'
    assert tagged['brown'] == 'JJ'
    assert tagged['Paris'] == 'NNP'
    assert tagged['on'] == 'IN'
    assert log == ['Nouns are tagged by: TextBlob PatternTagger']


def test_textblob_sees_anonymised_names_and_slashes():
    words = [word for word, _ in build_tagger('textblob')('<PERSON> with a hat/cap')]
    assert words[:3] == ['<', 'PERSON', '>']
    assert words[-1] == 'hat/cap'


def test_auto_prefers_nltk_where_its_data_are(monkeypatch, log):
    fake_nltk(monkeypatch)
    assert build_tagger('auto')('a dog') == [('a', 'NN'), ('dog', 'NN')]
    assert log == ['Nouns are tagged by: NLTK averaged perceptron']


def test_auto_falls_back_and_says_so_once(monkeypatch, log):
    monkeypatch.setattr(nltk, 'word_tokenize', no_data)
    for _ in range(3):
        assert ('dog', 'NN') in build_tagger('auto')('a dog')
    assert log == ["Nouns are tagged by: TextBlob PatternTagger (NLTK's data not found)"]


def test_explicit_nltk_without_data_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(nltk, 'word_tokenize', no_data)
    with pytest.raises(RuntimeError, match=r'nltk\.downloader punkt_tab .*textblob'):
        build_tagger('nltk')


def test_unknown_name():
    with pytest.raises(ValueError, match=r"one of \['auto', 'nltk', 'textblob'\].*'spacy'"):
        build_tagger('spacy')
