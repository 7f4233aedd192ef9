import pytest
import torch
from tiny_model import images

from code_mm.models.prompts import RegionHighlightingPrompt


@pytest.fixture
def prompt():
    prompt = RegionHighlightingPrompt(image_size=4)
    torch.nn.init.normal_(prompt.image, generator=torch.Generator().manual_seed(0))
    return prompt


def test_eq_3_4_pixel_by_pixel(prompt):
    """b = 2 images of 8 x 4 pixels, k = 3 nouns, masks on a 4 x 2 grid."""
    image = images(2, 8, 4)
    mask = torch.rand(6, 1, 4, 2, generator=torch.Generator().manual_seed(1))
    highlighted = prompt(image, mask)
    # the prompt's 4 rows become 8: centres at -.25, .25, .75, ..., borders repeated
    fill = torch.empty(3, 8, 4)
    for y in range(8):
        position = min(max((y + 0.5) / 2 - 0.5, 0), 3)
        low = int(position)
        high, part = min(low + 1, 3), position - low
        fill[:, y] = (1 - part) * prompt.image[0, :, low] + part * prompt.image[0, :, high]
    for j in range(3):
        for i in range(2):
            for y in range(8):
                for x in range(4):
                    m = mask[j * 2 + i, 0, y // 2, x // 2]
                    expected = m * image[i, :, y, x] + (1 - m) * fill[:, y, x]
                    actual = highlighted[j * 2 + i, :, y, x]
                    torch.testing.assert_close(actual, expected)


def test_gradients_reach_mask_and_prompt_where_they_should(prompt):
    image = images(1, 4, 4)
    mask = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]], requires_grad=True)
    prompt(image, mask).sum().backward()
    # the prompt fills three of four quarters
    expected = torch.ones(3, 4, 4)
    expected[:, :2, :2] = 0
    assert torch.equal(prompt.image.grad[0], expected)
    difference = (image - prompt.image.detach()).sum(1)[0]
    quarters = difference.unflatten(0, (2, 2)).unflatten(2, (2, 2)).sum((1, 3))
    torch.testing.assert_close(mask.grad[0, 0], quarters)


def test_it_starts_at_the_mean_colour_and_may_stay_there():
    assert not RegionHighlightingPrompt(4).image.any()
    fixed = RegionHighlightingPrompt(4, learnable=False)
    assert not fixed.image.requires_grad
    image, mask = images(1, 4, 4), torch.rand(2, 1, 4, 4)
    torch.testing.assert_close(fixed(image, mask), image * mask)
