"""What ``test_co_decomposition.py`` does not show: gradients, and prompts that are fixed."""

import pytest
import torch
from tiny_model import images

from code_mm.models.prompts import RegionHighlightingPrompt, WordHighlightingPrompt

PROMPTS = [(RegionHighlightingPrompt, [4]), (WordHighlightingPrompt, [8, 5])]


def test_gradients_reach_region_mask_and_prompt_where_they_should():
    prompt, image = RegionHighlightingPrompt(image_size=4), images(1, 4, 4)
    prompt.image.data.normal_(generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]], requires_grad=True)
    prompt(image, mask).sum().backward()
    # the prompt fills three of four quarters
    expected = torch.ones(3, 4, 4)
    expected[:, :2, :2] = 0
    assert torch.equal(prompt.image.grad[0], expected)
    difference = (image - prompt.image.detach()).sum(1)[0]
    quarters = difference.unflatten(0, (2, 2)).unflatten(2, (2, 2)).sum((1, 3))
    torch.testing.assert_close(mask.grad[0, 0], quarters)


def test_start_end_and_padding_of_texts_neither_take_nor_give_a_gradient():
    prompt = WordHighlightingPrompt(context_length=8, text_width=5)
    prompt.words.data.normal_(generator=torch.Generator().manual_seed(0))
    mask = torch.full((1, 8), 0.5, requires_grad=True)
    words = torch.tensor([[0 < position < 5 for position in range(8)]])  # 'a star on grass'
    prompt(torch.randn(1, 8, 5), mask, words).sum().backward()
    assert torch.equal(mask.grad != 0, words)
    assert torch.equal(prompt.words.grad, 0.5 * words[0, :, None].float().expand(-1, 5))


@pytest.mark.parametrize(('kind', 'sizes'), PROMPTS)
def test_it_starts_at_the_mean_colour_or_zero_and_may_stay_there(kind, sizes):
    for learnable in (True, False):
        (fill,) = kind(*sizes, learnable=learnable).parameters()
        assert not fill.any() and fill.requires_grad == learnable
