import mmseg.models
import mmseg.registry
import pytest
import torch
from tiny_model import tiny_clip

from code_mm.models.backbones.clip import CLIPTextEncoder
from code_mm.registry import MODELS
from code_mm.tokenizers import end_of_text_index, tokenize

TEXTS = ['a star', 'a red boat on the water, a house', 'grass']


@pytest.fixture(scope='module')
def text():
    return tiny_clip().text


def test_positions_and_blocks_in_order(text):
    ids = tokenize(TEXTS, 24)
    hidden = text.token_embedding.weight[ids] + text.positional_embedding
    for block in text.transformer.resblocks:
        hidden = block(hidden, causal=True)
    torch.testing.assert_close(text.hidden_states(ids), hidden)
    ends = [list(row).index(49407) for row in ids.tolist()]
    expected = torch.stack([hidden[i, end] for i, end in enumerate(ends)])
    torch.testing.assert_close(text(ids), text.ln_final(expected) @ text.text_projection)


def test_cutting_the_padding_changes_nothing(text):
    ids = tokenize(TEXTS, 24)
    longest = int(end_of_text_index(ids).max()) + 1
    assert longest < 24
    torch.testing.assert_close(text(ids[:, :longest]), text(ids))
    torch.testing.assert_close(
        text.hidden_states(ids[:, :longest]), text.hidden_states(ids)[:, :longest]
    )


def test_word_embeddings_are_what_tokens_become(text):
    ids = tokenize(TEXTS, 24)
    embed = text.encode_words(text.token_embedding(ids), end_of_text_index(ids))
    assert torch.equal(embed, text(ids))


def test_texts_that_begin_alike(text):
    ids = tokenize(['a red star', 'a red boat on the water', 'a red house'], 24)
    words, end = text.token_embedding(ids), end_of_text_index(ids)
    shared = text.encode_continuations(words[0, :3], words[:, 3:10], end - 3)
    torch.testing.assert_close(shared, text(ids))


def test_continuations_that_are_too_long_are_refused(text):
    prefix, words = torch.zeros(4, 32), torch.zeros(2, 21, 32)
    with pytest.raises(ValueError, match='at most 24 tokens, but got 25'):
        text.encode_continuations(prefix, words, torch.tensor([3, 3]))


def test_no_position_sees_a_later_one(text):
    ids = tokenize(TEXTS, 24)
    changed = ids.clone()
    changed[:, 3:] = 1000
    before, after = text.hidden_states(ids), text.hidden_states(changed)
    torch.testing.assert_close(after[:, :3], before[:, :3])
    assert (after[:, 3:] - before[:, 3:]).abs().amax(-1).min() > 1e-3


def test_frozen_parameters_let_gradients_through_to_the_words(text):
    assert not any(p.requires_grad for p in text.parameters())
    words = text.token_embedding(tokenize(TEXTS[:1], 24)).requires_grad_()
    text.encode_words(words, torch.tensor([3])).sum().backward()
    touched = words.grad[0].abs().amax(-1) > 0
    assert touched.tolist() == [True] * 4 + [False] * 20


def test_a_text_that_is_too_long_is_refused(text):
    with pytest.raises(ValueError, match='at most 24 tokens, but got 30; set context_length'):
        text(tokenize(TEXTS, 30))


def test_mmsegs_own_text_encoder_keeps_the_bare_name():
    assert mmseg.registry.MODELS.get('CLIPTextEncoder') is mmseg.models.CLIPTextEncoder
    assert mmseg.registry.MODELS.get('code_mm.CLIPTextEncoder') is CLIPTextEncoder
    assert MODELS.get('CLIPTextEncoder') is CLIPTextEncoder
