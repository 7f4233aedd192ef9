import torch
from tiny_model import images

from code_mm.models.prompts import RegionBlanking, RegionHighlightingPrompt


def test_what_the_mask_leaves_out_is_zero():
    image = images(2, 4, 6)
    mask = torch.zeros(4, 1, 2, 3)
    mask[0, 0, 0, 0] = mask[3, 0, 1, 2] = 1  # pair j * b + i is image i
    found = RegionBlanking()(image, mask)
    expected = torch.zeros(4, 3, 4, 6)
    expected[0, :, :2, :2] = image[0, :, :2, :2]
    expected[3, :, 2:, 4:] = image[1, :, 2:, 4:]
    assert torch.equal(found, expected)


def test_it_is_a_prompt_that_does_not_learn():
    image, mask = images(2, 8, 8), torch.rand(4, 1, 4, 4)
    prompt = RegionHighlightingPrompt(image_size=8, learnable=False)
    torch.testing.assert_close(RegionBlanking()(image, mask), prompt(image, mask))


def test_gradients_reach_the_mask():
    image, mask = images(1, 4, 4), torch.rand(1, 1, 2, 2, requires_grad=True)
    RegionBlanking()(image, mask).sum().backward()
    blocks = image[0].sum(0).reshape(2, 2, 2, 2).sum((1, 3))
    torch.testing.assert_close(mask.grad[0, 0], blocks)
