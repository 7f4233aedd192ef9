import torch

from code_mm.models.segmenters import TextSegmenter


def test_words_have_unit_length_and_every_position_sees_all():
    torch.manual_seed(0)
    segmenter, hidden = TextSegmenter(text_width=8, text_heads=2), torch.randn(2, 5, 8)
    words = segmenter(hidden)
    torch.testing.assert_close(words.norm(dim=-1), torch.ones(2, 5))
    changed = hidden.clone()
    changed[:, -1] = torch.randn(8)  # where padding is
    assert (segmenter(changed)[:, 0] - words[:, 0]).abs().max() > 1e-4
