import pytest
import torch
from tiny_model import tiny_clip

from code_mm.models.prompts import NounContextPrompt
from code_mm.tokenizers import encode, tokenize

NOUNS = ['star', 'fire hydrant', 'x']


@pytest.fixture(scope='module')
def text():
    return tiny_clip().text


@pytest.fixture
def prompt():
    torch.manual_seed(0)
    return NounContextPrompt(32, num_contexts=4)


def slow_embedding(text, contexts, noun):
    """[start][contexts][noun][end] without padding, encoded alone."""
    table = text.token_embedding.weight
    words = [table[49406], *contexts, *(table[i] for i in encode(noun)), table[49407]]
    embed = text.encode_words(torch.stack(words)[None], torch.tensor([len(words) - 1]))[0]
    return embed / embed.square().sum().sqrt()


def test_against_prompts_put_together_one_by_one(text, prompt):
    embed = prompt(tokenize(NOUNS, 20), text)
    expected = torch.stack([slow_embedding(text, prompt.contexts, noun) for noun in NOUNS])
    torch.testing.assert_close(embed, expected)


def test_padding_does_not_matter(text, prompt):
    torch.testing.assert_close(prompt(tokenize(NOUNS, 6), text), prompt(tokenize(NOUNS, 20), text))


@pytest.mark.parametrize('count', [1, 4, 16])
def test_contexts_start_from_a_photo_of(text, count):
    prompt = NounContextPrompt(32, num_contexts=count)
    assert prompt.num_contexts == count
    prompt.copy_from(text)
    ids = ([*encode('a photo of')] + encode('x') * 20)[:count]
    assert torch.equal(prompt.contexts, text.token_embedding.weight[ids])


def test_contexts_are_all_that_learns(text, prompt):
    prompt(tokenize(NOUNS, 20), text)[:, 0].sum().backward()
    assert [name for name, _ in prompt.named_parameters()] == ['contexts']
    assert prompt.contexts.grad.abs().amax(1).min() > 0
    assert all(p.grad is None for p in text.parameters())


def test_the_longest_noun_that_fits_and_one_more(text, prompt):
    prompt(tokenize(['word ' * 40], 20), text)
    match = 'at most 20 tokens .*24 less 4 learnt contexts.* but got 21; set noun_context_length=20'
    with pytest.raises(ValueError, match=match):
        prompt(tokenize(NOUNS, 21), text)
