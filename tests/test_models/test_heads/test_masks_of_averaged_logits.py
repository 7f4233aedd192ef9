from types import SimpleNamespace

import pytest
import torch

from code_mm.models.heads import MasksOfAveragedLogits
from code_mm.models.segmenters import SimilarityToMask


@pytest.mark.parametrize('threshold', [None, 0.4])
def test_masks_of_averaged_logits(threshold):
    to_mask = SimilarityToMask(init_scale=20.0, init_bias=-5.0)
    head = SimpleNamespace(
        synonyms_per_class=(2, 1), similarity_to_mask=to_mask, background_threshold=threshold
    )
    similarity = torch.rand(1, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    found = MasksOfAveragedLogits()(similarity, head)
    masks = 1 / (1 + torch.exp(-(20 * similarity - 5)))
    expected = [torch.maximum(masks[:, 0], masks[:, 1]), masks[:, 2]]
    if threshold:
        expected = [torch.full_like(masks[:, 0], threshold), *expected]
    torch.testing.assert_close(found, torch.stack(expected, 1))
