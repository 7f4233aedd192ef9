import pytest
import torch

from code_mm.ops import crop, pad_to_multiple


def test_odd_pixel_goes_right_and_down():
    image = torch.ones(1, 1, 5, 2)
    padded, padding = pad_to_multiple(image, 8)
    assert padding == (3, 3, 1, 2)  # left, right, top, bottom
    expected = torch.zeros(1, 1, 8, 8)
    expected[:, :, 1:6, 3:5] = 1
    assert torch.equal(padded, expected)


@pytest.mark.parametrize('size', [(1, 1), (3, 8), (16, 16), (17, 31)])
@pytest.mark.parametrize('multiple', [1, 8])
def test_crop_undoes_padding(size, multiple):
    image = torch.randn(2, 3, *size)
    padded, padding = pad_to_multiple(image, multiple)
    for side, full in zip(size, padded.shape[-2:], strict=True):
        assert full % multiple == 0 and side <= full < side + multiple
    assert torch.equal(crop(padded, padding), image)
