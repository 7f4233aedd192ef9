import pytest
import torch
import torch.nn.functional as F

from code_mm.models.layers.gated_upsampling import conv3x3_after_upsampling


@pytest.mark.parametrize('size', [(1, 1), (2, 5), (7, 4)])
def test_equals_convolving_the_upsampled_map(size):
    generator = torch.Generator().manual_seed(0)
    shapes = dict(x=(2, 4, *size), weight=(6, 4, 3, 3), bias=(6,))
    ours = {
        name: torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for name, shape in shapes.items()
    }
    plain = {name: value.detach().clone().requires_grad_() for name, value in ours.items()}
    result = conv3x3_after_upsampling(**ours)
    upsampled = F.interpolate(plain['x'], scale_factor=2, mode='nearest')
    expected = F.conv2d(upsampled, plain['weight'], plain['bias'], padding=1)
    torch.testing.assert_close(result, expected)

    weights = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    (result * weights).sum().backward()
    (expected * weights).sum().backward()
    for name in shapes:
        torch.testing.assert_close(ours[name].grad, plain[name].grad)
