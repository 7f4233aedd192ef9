import numpy as np
import pytest
from mmseg.utils.tokenizer import SimpleTokenizer

from code_mm.visualization.caption_words import caption_words, noun_occurrences, word_weights

CAPTIONS = [
    'A polar bear, walking on the ice!',
    "the dog's 2019 frisbee isn't   red, 'sun",
    'Portrait &amp; caf&eacute; at Zürich \u2013 antidisestablishmentarianism',
    'кружка кофе ☕ 木のテーブル 😀 İstanbul',
    'ï½ÂœSunset',
    '   ',
]


@pytest.mark.parametrize('caption', CAPTIONS)
def test_words_cover_exactly_the_tokens_of_the_tokenizer(caption):
    tokenizer = SimpleTokenizer()
    ids = tokenizer.encode(caption)
    position = 1
    for word in caption_words(caption):
        assert word.start == position < word.stop
        piece = tokenizer.decode(ids[word.start - 1 : word.stop - 1])
        assert piece.replace(' ', '').lower() == word.text.lower()
        position = word.stop
    assert position == len(ids) + 1


def test_words_keep_case_and_spacing_and_are_those_of_the_models_tokenizer():
    class Letters:
        start_ids = ()

        def encode(self, text):
            return list(text)

    words = caption_words("The dog's  bone,  R&amp;B")
    assert [w.text for w in words] == ['The', 'dog', "'s", 'bone', ',', 'R', '&', 'B']
    assert [w.space_before for w in words] == [0, 1, 0, 1, 0, 1, 0, 0]
    assert [(w.start, w.stop) for w in caption_words('a polar', Letters())] == [(0, 1), (1, 6)]
    words = caption_words('A polar bear and a Bear cub, bears')
    found = {'bear': {2, 5}, 'Polar bear': {1, 2}, 'cat': set(), '': set()}
    assert {noun: noun_occurrences(words, noun) for noun in found} == found


def test_weights_are_means_over_the_tokens_that_the_context_has():
    words = caption_words('a zzyzx dog')
    assert words[1].stop - words[1].start > 1
    masks = np.random.default_rng(0).random((2, 12))
    slow = [[np.mean([mask[p] for p in range(w.start, w.stop)]) for w in words] for mask in masks]
    np.testing.assert_allclose(word_weights(words, masks), slow)
    # l = 5: start, one, two, three, end
    cut_off = word_weights(caption_words('one two three four five'), np.ones((1, 5)))
    np.testing.assert_array_equal(cut_off, [[1, 1, 1, 0, 0]])
    masks = np.array([[9.0, 0.1, 0.4, 9.0]])  # only the first token of the rare word is left
    np.testing.assert_allclose(word_weights(caption_words('a zzyzx'), masks), [[0.1, 0.4]])
