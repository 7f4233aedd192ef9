import pytest
import torch

from code_mm.models.prompts import WordHighlightingPrompt
from code_mm.models.prompts.word_highlighting_prompt import special_positions
from code_mm.tokenizers import tokenize

CAPTIONS = ['a star on grass', 'boat']
LENGTH = 8


@pytest.fixture
def prompt():
    prompt = WordHighlightingPrompt(context_length=LENGTH, width=5)
    torch.nn.init.normal_(prompt.words, generator=torch.Generator().manual_seed(0))
    return prompt


def test_special_positions():
    """Start, end and everything behind the end; a caption that fills all positions has no rest."""
    ids = tokenize([*CAPTIONS, '', 'a b c d e f g h i j'], LENGTH)
    assert special_positions(ids).int().tolist() == [
        [1, 0, 0, 0, 0, 1, 1, 1],
        [1, 0, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 1, 1],
        [1, 0, 0, 0, 0, 0, 0, 1],
    ]


def test_eq_3_5_word_by_word(prompt):
    ids = tokenize(CAPTIONS, LENGTH)
    generator = torch.Generator().manual_seed(1)
    words = torch.randn(2, LENGTH, 5, generator=generator)
    mask = torch.rand(6, LENGTH, generator=generator)  # k = 3 nouns of b = 2 captions
    highlighted = prompt(words, mask, ids)
    ends = [5, 2]
    for j in range(3):
        for i in range(2):
            for position in range(LENGTH):
                m = mask[j * 2 + i, position]
                if position == 0 or position >= ends[i]:
                    m = 1.0
                expected = m * words[i, position] + (1 - m) * prompt.words[position]
                torch.testing.assert_close(highlighted[j * 2 + i, position], expected)


def test_captions_without_padding_use_the_first_positions(prompt):
    ids = tokenize(CAPTIONS, 6)
    words = torch.randn(2, 6, 5)
    mask = torch.zeros(2, 6)
    highlighted = prompt(words, mask, ids)
    assert torch.equal(highlighted[0, 1:5], prompt.words[1:5])
    assert torch.equal(highlighted[:, 0], words[:, 0])


def test_special_positions_neither_take_nor_give_a_gradient(prompt):
    ids = tokenize(CAPTIONS[:1], LENGTH)
    mask = torch.full((1, LENGTH), 0.5, requires_grad=True)
    prompt(torch.randn(1, LENGTH, 5), mask, ids).sum().backward()
    inside = torch.tensor([0, 1, 1, 1, 1, 0, 0, 0], dtype=torch.bool)
    assert torch.equal(mask.grad[0] != 0, inside)
    assert torch.equal(prompt.words.grad, 0.5 * inside[:, None].float().expand(-1, 5))


def test_it_starts_at_zero_and_may_stay_there():
    assert not WordHighlightingPrompt(LENGTH, 5).words.any()
    assert WordHighlightingPrompt(LENGTH, 5).words.requires_grad
    assert not WordHighlightingPrompt(LENGTH, 5, learnable=False).words.requires_grad
