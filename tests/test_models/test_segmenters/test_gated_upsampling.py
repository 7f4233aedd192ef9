import math

import pytest
import torch

from code_mm.models.segmenters import GatedUpsampling


def slow_layer_norm(x, weight, bias, eps=1e-5):
    out = torch.empty_like(x)
    b, _, h, w = x.shape
    for i in range(b):
        for y in range(h):
            for z in range(w):
                v = x[i, :, y, z]
                normed = (v - v.mean()) / (v.var(unbiased=False) + eps).sqrt()
                out[i, :, y, z] = normed * weight + bias
    return out


def slow_conv3x3(x, weight, bias):
    b, _, h, w = x.shape
    out = torch.empty(b, len(weight), h, w, dtype=x.dtype)
    for y in range(h):
        for z in range(w):
            total = bias.expand(b, -1).clone()
            for dy in range(-1, 2):
                for dz in range(-1, 2):
                    if 0 <= y + dy < h and 0 <= z + dz < w:
                        total += x[:, :, y + dy, z + dz] @ weight[:, :, dy + 1, dz + 1].T
            out[:, :, y, z] = total
    return out


def upsampled(x):
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


@pytest.fixture
def layer():
    torch.manual_seed(0)
    layer = GatedUpsampling(3, init_gate=0.7).double()
    with torch.no_grad():
        layer.norm.weight.copy_(torch.rand(3) + 0.5)
        layer.norm.bias.copy_(torch.randn(3))
    return layer


def test_against_a_slow_computation(layer):
    x = torch.randn(2, 3, 2, 3, dtype=torch.double)
    up = upsampled(x)
    normed = slow_layer_norm(up, layer.norm.weight, layer.norm.bias)
    gelu = normed * 0.5 * (1 + torch.erf(normed / math.sqrt(2)))
    expected = up + math.tanh(0.7) * slow_conv3x3(gelu, layer.conv.weight, layer.conv.bias)
    torch.testing.assert_close(layer(x), expected)


def test_a_closed_gate_is_plain_upsampling_and_can_be_opened():
    layer = GatedUpsampling(3)
    x = torch.randn(1, 3, 2, 4)
    y = layer(x)
    assert torch.equal(y, upsampled(x))
    (y * torch.randn_like(y)).sum().backward()
    assert layer.gate.grad != 0
    # nothing reaches the convolution before the gate has moved
    assert not layer.conv.weight.grad.any()
