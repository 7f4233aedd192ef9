import math

import pytest
import torch

from code_mm.models.segmenters import TextSegmenter


@pytest.fixture
def segmenter():
    torch.manual_seed(0)
    return TextSegmenter(text_width=8, text_heads=2, init_scale=6.0, init_bias=-0.5)


def test_eqs_3_2_and_3_3_by_loops(segmenter):
    """b = 2 captions of l = 3 positions, k = 2 nouns each; row j * b + i."""
    words = torch.nn.functional.normalize(torch.randn(2, 3, 8), dim=-1)
    nouns = torch.nn.functional.normalize(torch.randn(4, 8), dim=-1)
    logits = segmenter.logits(words, nouns)
    masks = segmenter.masks(logits)
    assert logits.shape == (2, 3, 3)
    assert masks.shape == (4, 3)
    for i in range(2):
        for position in range(3):
            cases = [0.0]  # no noun: a constant
            for j in range(2):
                cosine = sum((words[i, position] * nouns[j * 2 + i]).tolist())
                cases.append(6.0 * cosine - 0.5)
            assert logits[i, :, position].tolist() == pytest.approx(cases, abs=1e-5)
            total = sum(math.exp(case) for case in cases)
            for j in range(2):
                expected = math.exp(cases[1 + j]) / total
                assert masks[j * 2 + i, position].item() == pytest.approx(expected, abs=1e-6)
    assert segmenter.masks(logits.half()).dtype == torch.float32


def test_words_have_unit_length_and_every_position_sees_all(segmenter):
    hidden = torch.randn(2, 5, 8)
    words = segmenter(hidden)
    torch.testing.assert_close(words.norm(dim=-1), torch.ones(2, 5))
    changed = hidden.clone()
    changed[:, -1] = torch.randn(8)  # where padding is
    assert (segmenter(changed)[:, 0] - words[:, 0]).abs().max() > 1e-4
