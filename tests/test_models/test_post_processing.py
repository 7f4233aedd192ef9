"""What parity does not show of PAMR (its golden case 1) and of the mix with the frozen CLIP."""

import pytest
import torch
import torch.nn.functional as F

from code_mm.models.post_processing import KnowledgePreservingMix
from code_mm.models.post_processing.pamr import PAMR, pixel_affinity


def test_chunks_of_classes_and_images_of_a_batch_do_not_meet():
    image, mask = torch.randn(2, 3, 30, 41), torch.rand(2, 5, 11, 14)
    before = mask.clone()
    whole = PAMR(2, (1, 24), chunk=None)(image, mask)
    for i in range(2):
        alone = PAMR(2, (1, 24), chunk=2)(image[i : i + 1], mask[i : i + 1])
        torch.testing.assert_close(alone[0], whole[i])
    assert torch.equal(mask, before) and torch.equal(PAMR(0)(image, mask), mask)


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


def test_the_mix_with_what_the_frozen_model_finds():
    mix = KnowledgePreservingMix(weight=0.6, scale=20.0, threshold=0.1)
    masks, features, names = torch.rand(2, 3, 6, 8), torch.randn(2, 5, 3, 4), torch.randn(3, 5)
    cosine = F.cosine_similarity(features[:, None], names[:, :, None, None], dim=2)
    kept = F.interpolate(torch.sigmoid(20 * (cosine - 0.1)), (6, 8), mode='bilinear')
    found = mix(masks, features, F.normalize(names, dim=1))
    torch.testing.assert_close(found, 0.6 * kept + 0.4 * masks)


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
