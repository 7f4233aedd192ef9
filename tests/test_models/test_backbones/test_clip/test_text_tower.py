import pytest
import torch
from tiny_model import tiny_clip

TEXTS = ['a star', 'a red boat on the water, a house', 'grass']


@pytest.fixture(scope='module')
def clip():
    return tiny_clip()


def test_texts_that_begin_alike(clip):
    ids = clip.tokenize(['a red star', 'a red boat on the water', 'a red house'])
    words, lengths = clip.embed_tokens(ids), clip.text_lengths(ids)
    expected = clip.encode_text(ids)
    for encode in (clip.encode_continuations, super(type(clip), clip).encode_continuations):
        shared = encode(words[0, :3], words[:, 3:10], lengths - 3)
        torch.testing.assert_close(shared, expected)


def test_frozen_parameters_let_gradients_through_to_the_words(clip):
    words = clip.embed_tokens(clip.tokenize(TEXTS[:1])).requires_grad_()
    clip.encode_words(words, torch.tensor([4])).sum().backward()
    touched = words.grad[0].abs().amax(-1) > 0
    assert touched.tolist() == [True] * 4 + [False] * 20


def test_texts_that_are_too_long_are_refused(clip):
    with pytest.raises(ValueError, match='at most 24 tokens, but got 30; set context_length'):
        clip.encode_text(clip.tokenize(TEXTS, 30))
    with pytest.raises(ValueError, match='at most 24 tokens, but got 25'):
        clip.encode_continuations(torch.zeros(4, 32), torch.zeros(2, 21, 32), torch.tensor([3, 3]))
