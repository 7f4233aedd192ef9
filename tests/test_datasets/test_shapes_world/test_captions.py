import numpy as np
import pytest

from code_mm.datasets.shapes_world import BACKGROUNDS, CAPTION_WORDS, COLOURS, NOUNS, ShapesWorld


@pytest.fixture(scope='module')
def hard():
    world = ShapesWorld('hard', seed=2)
    return [world.sample('train', i) for i in range(300)]


def test_words_and_spans_rebuild_the_text(hard):
    for sample in hard:
        caption = sample.caption
        for word, start, end, _ in caption.words:
            assert caption.text[start:end] == word
        assert ''.join(w[0] for w in caption.words) == caption.text.replace(' ', '')


def test_owners_are_true_to_the_scene(hard):
    for sample in hard:
        by_noun = {o.noun: o for o in sample.scene.objects}
        for noun in sample.caption.nouns:
            words = [sample.caption.words[i][0] for i in sample.caption.words_of(noun)]
            assert words[-1] == noun
            for word in words:
                if word in COLOURS:
                    assert by_noun[noun].colour == word
                if word in ('plain', 'striped', 'dotted'):
                    assert by_noun[noun].texture == word
        owners = {w[3] for w in sample.caption.words} - {None}
        assert owners == set(sample.caption.nouns)


def test_only_seen_things_are_named_and_some_are_not(hard):
    unnamed = 0
    for sample in hard:
        named = set(sample.caption.nouns)
        assert named <= {*sample.object_nouns, sample.scene.background}
        assert len(named) >= 2
        unnamed += bool(set(sample.object_nouns) - named)
    assert 0.2 < unnamed / len(hard) < 0.8


def test_relations_are_true(hard):
    checked = 0
    for sample in hard:
        centre = {o.noun: np.array(o.centre) for o in sample.scene.objects}
        words = sample.caption.words
        for i, (word, *_rest, owner) in enumerate(words):
            if owner is None and word in ('above', 'over', 'below', 'under', 'left'):
                before = next(w[3] for w in reversed(words[:i]) if w[3])
                after = next(w[3] for w in words[i:] if w[3])
                dx, dy = centre[before] - centre[after]
                assert {'above': dy < 0, 'over': dy < 0, 'left': dx < 0}.get(word, dy > 0)
                checked += 1
    assert checked > 50


def test_caption_words_are_complete(hard):
    known = {word for text in CAPTION_WORDS for word in text.split()}
    assert {w[0] for s in hard for w in s.caption.words} <= known


def test_an_offline_tagger_finds_exactly_the_nouns(hard):
    taggers = pytest.importorskip('textblob.en.taggers')
    tagger = taggers.PatternTagger()
    for sample in hard[:150]:
        tags = tagger.tag(sample.caption.text)
        found = dict.fromkeys(word for word, tag in tags if tag.startswith('NN'))
        assert tuple(found) == sample.caption.nouns, sample.caption.text


def test_nouns_are_single_tokens():
    from code_mm.tokenizers import tokenize

    ids = tokenize([*NOUNS, *BACKGROUNDS, *COLOURS])
    assert (ids.argmax(1) == 2).all()  # start, the word, end
