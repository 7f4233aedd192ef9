import numpy as np
import pytest
from mmseg.utils.tokenizer import SimpleTokenizer, tokenize

from code_mm.visualization import caption_words, noun_occurrences, word_weights

CAPTIONS = [
    'A polar bear, walking on the ice!',
    "the dog's 2019 frisbee isn't   red",
    'Portrait &amp; caf&eacute; at Zürich \u2013 antidisestablishmentarianism',
    'кружка кофе ☕ 木のテーブル 😀 İstanbul',
    'ï½ÂœSunset',
    '',
    '   ',
]


@pytest.mark.parametrize('caption', CAPTIONS)
def test_words_cover_exactly_the_tokens_of_the_tokenizer(caption):
    tokenizer = SimpleTokenizer()
    ids = tokenizer.encode(caption)
    words = caption_words(caption)
    position = 1
    for word in words:
        assert word.start == position < word.stop
        piece = tokenizer.decode(ids[word.start - 1 : word.stop - 1])
        assert piece.strip().lower() == word.text.lower().strip()
        position = word.stop
    assert position == len(ids) + 1


def test_positions_are_those_of_tokenize():
    caption = 'A polar bear!'
    ids = tokenize(caption)[0].tolist()
    encoder = SimpleTokenizer().encoder
    (bear,) = [word for word in caption_words(caption) if word.text == 'bear']
    assert ids[bear.start : bear.stop] == [encoder['bear</w>']]


def test_words_keep_case_and_spacing():
    words = caption_words("The dog's  bone,  R&amp;B")
    assert [(w.text, w.space_before) for w in words] == [
        ('The', False),
        ('dog', True),
        ("'s", False),
        ('bone', True),
        (',', False),
        ('R', True),
        ('&', False),
        ('B', False),
    ]


def test_weights_are_means_over_tokens():
    words = caption_words('a zzyzx dog')
    _, rare, dog = words
    assert rare.stop - rare.start > 1
    masks = np.random.default_rng(0).random((2, 12))
    weights = word_weights(words, masks)
    for j in range(2):
        slow = [np.mean([masks[j, p] for p in range(w.start, w.stop)]) for w in words]
        np.testing.assert_allclose(weights[j], slow)
    # position 0 is the start token
    assert weights[0, 0] == masks[0, 1]
    assert weights[1, 2] == masks[1, dog.start]


def test_words_beyond_the_context_have_no_weight():
    words = caption_words('one two three four five')
    # l = 5: start, one, two, three, end
    np.testing.assert_array_equal(word_weights(words, np.ones((1, 5))), [[1, 1, 1, 0, 0]])
    rare = caption_words('a zzyzx')
    masks = np.array([[9.0, 0.1, 0.4, 9.0]])  # only the first token of the rare word is left
    np.testing.assert_allclose(word_weights(rare, masks), [[0.1, 0.4]])


def test_noun_occurrences():
    words = caption_words('A polar bear and a Bear cub, bears')
    assert noun_occurrences(words, 'bear') == {2, 5}
    assert noun_occurrences(words, 'Polar bear') == {1, 2}
    assert noun_occurrences(words, 'cat') == set()
    assert noun_occurrences(words, '') == set()
