import pytest
import torch
import torch.nn.functional as F

from code_mm.models.post_processing import KnowledgePreservingMix
from code_mm.models.post_processing.pamr import PAMR, pixel_affinity

DIRECTIONS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]


def expand(x, dilations):
    """All neighbours at once, [b, c, 8 * d, h, w]; indices beyond the border are clamped."""
    h, w = x.shape[-2:]
    neighbours = []
    for d in dilations:
        for dy, dx in DIRECTIONS:
            rows = (torch.arange(h) + dy * d).clamp(0, h - 1)
            columns = (torch.arange(w) + dx * d).clamp(0, w - 1)
            neighbours.append(x[..., rows, :][..., columns])
    return torch.stack(neighbours, 2)


def plain_pamr(image, mask, num_iter, dilations):
    """The plain formulation, which holds 8 * d copies of every mask."""
    image = F.interpolate(image, mask.shape[-2:], mode='bilinear', align_corners=True)
    neighbours, centre = expand(image, dilations), image[:, :, None]
    copies = [centre] * len(dilations)
    std = torch.cat([neighbours, *copies], 2).std(2, keepdim=True)
    affinity = (-(centre - neighbours).abs() / (1e-8 + 0.1 * std)).mean(1, keepdim=True).softmax(2)
    for _ in range(num_iter):
        mask = (expand(mask, dilations) * affinity).sum(2)
    return mask


@pytest.mark.parametrize(
    ('size', 'dilations', 'num_iter', 'chunk'),
    [
        ((11, 14), (1, 2, 4, 8, 12, 24), 10, 2),
        ((1, 5), (3, 1), 2, None),
        ((4, 4), (2,), 0, 32),
    ],
)
def test_equals_plain_formulation(size, dilations, num_iter, chunk):
    """With gradients; images of a batch do not meet, and the input is left as it is."""
    torch.manual_seed(0)
    image = torch.randn(2, 3, 30, 41, dtype=torch.double, requires_grad=True)
    mask = torch.rand(2, 5, *size, dtype=torch.double, requires_grad=True)
    before, weights = mask.detach().clone(), torch.randn(2, 5, *size, dtype=torch.double)
    found = [
        (out, *torch.autograd.grad((out * weights).sum(), (image, mask), allow_unused=True))
        for out in (
            PAMR(num_iter, dilations, chunk=chunk)(image, mask),
            plain_pamr(image, mask, num_iter, dilations),
        )
    ]
    torch.testing.assert_close(*found, atol=1e-6, rtol=1e-5)
    assert torch.equal(mask, before)


def test_a_flat_image_averages_all_neighbours_and_keeps_gradients_finite():
    image = torch.full((1, 3, 5, 5), 0.7, requires_grad=True)
    affinity = pixel_affinity(image, (1, 2))
    torch.testing.assert_close(affinity.detach(), torch.full((1, 16, 5, 5), 1 / 16))
    affinity[:, 0].sum().backward()
    assert image.grad.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_fp32(dtype):
    image, mask = torch.randn(1, 3, 9, 9).to(dtype), torch.rand(1, 2, 9, 9).to(dtype)
    with torch.autocast('cpu', dtype=dtype):
        refined = PAMR()(image, mask)
    assert refined.dtype == dtype
    assert torch.equal(refined, PAMR()(image.float(), mask.float()).to(dtype))


@pytest.mark.parametrize(
    ('part', 'keys', 'message'),
    [
        (PAMR, {'dilations': (1, 0)}, r'dilations to be integers >= 1, but got \(1, 0\)'),
        (PAMR, {'num_iter': -1}, 'num_iter to be >= 0, but got -1'),
        (PAMR, {'grid': 'pixels'}, "grid to be 'mask' or 'image', but got 'pixels'"),
        (PAMR, {'chunk': 0}, 'chunk to be >= 1 or None, but got 0'),
        (KnowledgePreservingMix, {'weight': 0.0}, r'expected a weight in \(0, 1\]'),
        (KnowledgePreservingMix, {'weight': 1.1}, r'expected a weight in \(0, 1\]'),
    ],
)
def test_rejects_bad_settings(part, keys, message):
    with pytest.raises(ValueError, match=message):
        part(**keys)
