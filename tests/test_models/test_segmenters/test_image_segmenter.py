import math

import pytest
import torch
import torch.nn.functional as F
from tiny_model import images, randomise, tiny_clip

import projects.dense_clip  # noqa: F401  registers its parts
from code_mm.models.segmenters import ImageSegmenter
from code_mm.models.segmenters.image_segmenter import GatedUpsampling


@pytest.fixture
def clip():
    return tiny_clip()


def test_the_copy_is_its_own_and_learns(clip):
    segmenter = randomise(ImageSegmenter(clip, init_gate=0.25))
    before = {k: v.clone() for k, v in clip.state_dict().items()}
    assert all(p.requires_grad for p in segmenter.parameters())
    segmenter(clip.trunk(images(2, 16, 24)))[:, 0].sum().backward()
    rows = segmenter.tail.block.attn.in_proj_weight.grad.unflatten(0, (3, 48)).abs().sum((1, 2))
    assert (rows > 0).tolist() == [False, False, True]  # MaskCLIP reads values alone
    torch.optim.SGD(segmenter.parameters(), lr=1.0).step()
    assert all(torch.equal(value, before[key]) for key, value in clip.state_dict().items())


def upsampled(x):
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def test_upsampled_first_and_gated_last():
    """The order in which TCL writes it down; the layer computes before upsampling what it can."""
    torch.manual_seed(0)
    layer = GatedUpsampling(3, init_gate=0.7).double()
    torch.nn.init.uniform_(layer.norm.weight)
    torch.nn.init.normal_(layer.norm.bias)
    x = torch.randn(2, 3, 2, 3, dtype=torch.double)
    up = upsampled(x)
    normed = F.layer_norm(up.movedim(1, -1), (3,), layer.norm.weight, layer.norm.bias)
    gelu = (normed * 0.5 * (1 + torch.erf(normed / math.sqrt(2)))).movedim(-1, 1)
    added = F.conv2d(gelu, layer.conv.weight, layer.conv.bias, padding=1)
    torch.testing.assert_close(layer(x), up + math.tanh(0.7) * added)


def test_a_closed_gate_is_plain_upsampling_and_can_be_opened():
    layer = GatedUpsampling(3)
    x = torch.randn(1, 3, 2, 4)
    y = layer(x)
    assert torch.equal(y, upsampled(x))
    (y * torch.randn_like(y)).sum().backward()
    assert layer.gate.grad != 0
    # nothing reaches the convolution before the gate has moved
    assert not layer.conv.weight.grad.any()
