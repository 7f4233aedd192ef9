"""What ``test_co_decomposition.py`` does not show: gradients, start values, the order of layers."""

import math

import pytest
import torch
import torch.nn.functional as F
from tiny_model import images, tiny_clip

from code_mm.models.prompts import (
    NounContextPrompt,
    RegionHighlightingPrompt,
    WordHighlightingPrompt,
)
from code_mm.models.segmenters import SimilarityToMask, TextSegmenter
from code_mm.models.segmenters.image_segmenter import GatedUpsampling


def test_upsampled_first_and_gated_last():
    """The order in which TCL writes it down; the layer computes before upsampling what it can."""
    torch.manual_seed(0)
    layer = GatedUpsampling(3).double()
    torch.nn.init.uniform_(layer.norm.weight)
    torch.nn.init.normal_(layer.norm.bias)
    x = torch.randn(2, 3, 2, 3, dtype=torch.double)
    up = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    closed = layer(x)
    assert torch.equal(closed, up)
    closed.square().sum().backward()
    assert layer.gate.grad != 0  # it can be opened

    torch.nn.init.constant_(layer.gate, 0.7)
    normed = F.layer_norm(up.movedim(1, -1), (3,), layer.norm.weight, layer.norm.bias)
    gelu = (normed * 0.5 * (1 + torch.erf(normed / math.sqrt(2)))).movedim(-1, 1)
    added = F.conv2d(gelu, layer.conv.weight, layer.conv.bias, padding=1)
    torch.testing.assert_close(layer(x), up + math.tanh(0.7) * added)


def test_the_text_segmenter_starts_as_the_release_s():
    # Xavier's bounds sqrt(6 / (in + out)); nn.Linear's are 1 / sqrt(in)
    for block in TextSegmenter(64, 4).transformer.resblocks:
        for weight, bound in (
            (block.attn.in_proj_weight, math.sqrt(6 / (64 + 3 * 64))),
            (block.attn.out_proj.weight, 64**-0.5),
            (block.mlp.c_proj.weight, 256**-0.5),
        ):
            assert 0.98 * bound < weight.abs().max() <= bound
        assert not block.attn.in_proj_bias.any() and not block.attn.out_proj.bias.any()


def test_hard_masks_are_straight_through():
    similarity = torch.linspace(-1, 1, 24).view(2, 3, 2, 2).requires_grad_()
    to_mask = SimilarityToMask(temperature=0.5)
    noise = torch.rand(similarity.shape, generator=torch.Generator().manual_seed(0))
    to_mask.sample_noise = lambda _: noise
    hard = to_mask.hard(similarity)
    with torch.no_grad():
        noisy = 10 * similarity - 2.5 + torch.log(noise / (1 - noise))
        assert torch.equal(hard, (noisy > 0).float()) and 0 < hard.mean() < 1
        soft = torch.sigmoid(noisy / 0.5)
        slope = soft * (1 - soft) / 0.5
    hard.sum().backward()
    torch.testing.assert_close(similarity.grad, 10 * slope)
    torch.testing.assert_close(to_mask.scale.grad, (similarity.detach() * slope).sum())
    torch.testing.assert_close(to_mask.bias.grad, slope.sum())


def test_hard_masks_are_drawn_anew_with_the_soft_masks_probability():
    to_mask = SimilarityToMask(init_scale=1.0, init_bias=0.0)
    torch.manual_seed(0)
    similarity = torch.tensor([-1.0, 0.0, 1.0])[:, None].expand(-1, 20000)
    first, second = to_mask.hard(similarity), to_mask.hard(similarity)
    assert not torch.equal(first, second)
    expected = similarity[:, 0].sigmoid()
    torch.testing.assert_close(first.mean(1), expected, atol=0.015, rtol=0)
    # half precision knows 1024 numbers between 1/2 and 1, and rounds to 1
    assert to_mask.sample_noise(similarity.half()).dtype == torch.float32


def test_words_are_segmented_by_what_follows_them_too():
    torch.manual_seed(0)
    segmenter, hidden = TextSegmenter(text_width=8, text_heads=2), torch.randn(2, 5, 8)
    changed = hidden.clone()
    changed[:, -1] = torch.randn(8)  # where padding is
    assert (segmenter(changed)[:, 0] - segmenter(hidden)[:, 0]).abs().max() > 1e-4


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
    mask = torch.full((1, 8), 0.5, requires_grad=True)
    words = torch.tensor([[0 < position < 5 for position in range(8)]])  # 'a star on grass'
    prompt(torch.randn(1, 8, 5), mask, words).sum().backward()
    assert torch.equal(mask.grad != 0, words)
    assert torch.equal(prompt.words.grad, 0.5 * words[0, :, None].float().expand(-1, 5))


@pytest.mark.parametrize('learnable', [True, False])
def test_where_prompts_start(learnable):
    """At the mean colour, zero, or 'a photo of x x ...'; highlights may stay there."""
    for prompt in (
        RegionHighlightingPrompt(4, learnable=learnable),
        WordHighlightingPrompt(8, 5, learnable=learnable),
    ):
        (fill,) = prompt.parameters()
        assert not fill.any() and fill.requires_grad == learnable
    prompt, clip = NounContextPrompt(32, num_contexts=16), tiny_clip()
    prompt.copy_from(clip)
    ids = clip.tokenizer.encode('a photo of' + ' x' * 13)
    assert torch.equal(prompt.contexts, clip.text.token_embedding.weight[ids])
