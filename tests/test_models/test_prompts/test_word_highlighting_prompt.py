import pytest
import torch

from code_mm.models.prompts import WordHighlightingPrompt

LENGTH, ENDS = 8, (5, 2)  # 'a star on grass', 'boat'
POSITIONS = torch.tensor([[0 < p < end for p in range(LENGTH)] for end in ENDS])


@pytest.fixture
def prompt():
    prompt = WordHighlightingPrompt(context_length=LENGTH, text_width=5)
    torch.nn.init.normal_(prompt.words, generator=torch.Generator().manual_seed(0))
    return prompt


@pytest.mark.parametrize('length', [LENGTH, 6])  # captions without padding use the first positions
def test_eq_3_5_word_by_word(prompt, length):
    generator = torch.Generator().manual_seed(1)
    words = torch.randn(2, length, 5, generator=generator)
    mask = torch.rand(6, length, generator=generator)  # k = 3 nouns of b = 2 captions
    highlighted = prompt(words, mask, POSITIONS[:, :length])
    for j in range(3):
        for i in range(2):
            for position in range(length):
                m = mask[j * 2 + i, position]
                if position == 0 or position >= ENDS[i]:
                    m = 1.0
                expected = m * words[i, position] + (1 - m) * prompt.words[position]
                torch.testing.assert_close(highlighted[j * 2 + i, position], expected)


def test_start_end_and_padding_neither_take_nor_give_a_gradient(prompt):
    mask = torch.full((1, LENGTH), 0.5, requires_grad=True)
    prompt(torch.randn(1, LENGTH, 5), mask, POSITIONS[:1]).sum().backward()
    assert torch.equal(mask.grad != 0, POSITIONS[:1])
    assert torch.equal(prompt.words.grad, 0.5 * POSITIONS[0, :, None].float().expand(-1, 5))


def test_it_starts_at_zero_and_may_stay_there():
    assert not WordHighlightingPrompt(LENGTH, 5).words.any()
    assert not WordHighlightingPrompt(LENGTH, 5, learnable=False).words.requires_grad
