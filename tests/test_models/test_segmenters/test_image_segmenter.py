import pytest
import torch
import torch.nn.functional as F
from tiny_model import images, randomise, tiny_clip

import projects.dense_clip  # noqa: F401  registers its parts
from code_mm.models.segmenters import ImageSegmenter


@pytest.fixture
def clip():
    return tiny_clip()


@pytest.mark.parametrize('doublings', [0, 1, 2])
def test_fresh_from_clip_it_gives_the_upsampled_dense_features(clip, doublings):
    segmenter = ImageSegmenter(tiny_clip(seed=5), num_upsamplings=doublings)
    segmenter.copy_from(clip)
    image = images(2, 24, 40)
    factor = 2**doublings
    (dense,) = clip(image)
    expected = F.normalize(dense, dim=1)
    expected = expected.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
    torch.testing.assert_close(segmenter(clip.trunk(image)), expected)


def test_the_copy_is_its_own_and_learns(clip):
    segmenter = randomise(ImageSegmenter(clip, init_gate=0.25))
    before = {k: v.clone() for k, v in clip.state_dict().items()}
    assert all(p.requires_grad for p in segmenter.parameters())
    segmenter(clip.trunk(images(2, 16, 24)))[:, 0].sum().backward()
    rows = segmenter.tail.block.attn.in_proj_weight.grad.unflatten(0, (3, 48)).abs().sum((1, 2))
    assert (rows > 0).tolist() == [False, False, True]  # MaskCLIP reads values alone
    torch.optim.SGD(segmenter.parameters(), lr=1.0).step()
    assert all(torch.equal(value, before[key]) for key, value in clip.state_dict().items())
    assert [layer.gate.item() for layer in ImageSegmenter(clip, init_gate=0.25).decoder] == [
        0.25
    ] * 2
