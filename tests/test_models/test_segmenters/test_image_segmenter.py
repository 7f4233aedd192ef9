import pytest
import torch
import torch.nn.functional as F
from tiny_model import images, randomise, tiny_clip

import projects.dense_clip  # noqa: F401  registers its parts
from code_mm.models.segmenters import ImageSegmenter


@pytest.fixture
def clip():
    return tiny_clip()


def build(**keys):
    return ImageSegmenter(width=48, heads=3, embed_dim=32, **keys)


READINGS = [
    None,  # MaskCLIP
    dict(type='CorrelativeSelfAttention'),
    dict(type='SelfSelfAttention'),
    dict(type='NeighbourhoodAttention', std=1.5),
]


@pytest.mark.parametrize('doublings', [0, 1, 2])
@pytest.mark.parametrize('reading', READINGS)
def test_fresh_from_clip_it_gives_the_upsampled_dense_features(doublings, reading):
    clip = tiny_clip(dense_attention=reading)
    segmenter = build(num_upsamplings=doublings, dense_attention=reading)
    segmenter.copy_from(clip.visual)
    image = images(2, 24, 40)
    factor = 2**doublings
    (dense,) = clip(image)
    expected = F.normalize(dense, dim=1)
    expected = expected.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
    torch.testing.assert_close(segmenter(clip.visual.trunk(image)), expected)


def test_steps_in_their_order(clip):
    segmenter = randomise(build(), seed=5)
    trunk = clip.visual.trunk(images(1, 16, 24))
    values = segmenter.block.attn.in_proj_weight[96:] @ segmenter.block.ln_1(trunk.tokens[0]).T
    values = values.T + segmenter.block.attn.in_proj_bias[96:]
    tokens = trunk.tokens + segmenter.block.attn.out_proj(values)
    tokens = tokens + segmenter.block.mlp(segmenter.block.ln_2(tokens))
    grid = tokens[0].view(2, 3, -1).permute(2, 0, 1)[None]
    decoded = segmenter.decoder[1](segmenter.decoder[0](grid))
    features = torch.empty(1, 32, 8, 12)
    for y in range(8):
        for x in range(12):
            vector = segmenter.ln_post(decoded[0, :, y, x]) @ segmenter.proj
            features[0, :, y, x] = vector / vector.square().sum().sqrt()
    torch.testing.assert_close(segmenter(trunk), features)


def test_the_copy_is_its_own(clip):
    segmenter = build()
    segmenter.copy_from(clip.visual)
    before = {k: v.clone() for k, v in clip.state_dict().items()}
    assert all(p.requires_grad for p in segmenter.parameters())
    randomise(segmenter)
    assert all(torch.equal(value, before[key]) for key, value in clip.state_dict().items())


def test_init_gate(clip):
    assert [layer.gate.item() for layer in build(init_gate=0.25).decoder] == [0.25, 0.25]
    assert [layer.gate.item() for layer in build().decoder] == [0, 0]


@pytest.mark.parametrize('reading', READINGS)
def test_what_the_reading_uses_learns(clip, reading):
    """Gradients reach the rows of queries, keys and values that the reading computes, no other."""
    segmenter = randomise(build(dense_attention=reading), seed=5)
    segmenter(clip.visual.trunk(images(2, 16, 24)))[:, 0].sum().backward()
    block = segmenter.block
    rows = block.attn.in_proj_weight.grad.unflatten(0, (3, 48)).abs().sum(dim=(1, 2))
    used = dict(zip(('query', 'key', 'value'), (rows > 0).tolist(), strict=True))
    kind = reading['type'] if reading else 'SelfOnlyAttention'
    assert used == dict(
        query=kind in ('CorrelativeSelfAttention', 'SelfSelfAttention'),
        key=kind in ('CorrelativeSelfAttention', 'NeighbourhoodAttention'),
        value=True,
    )
    feed_forward = kind in ('SelfOnlyAttention', 'CorrelativeSelfAttention')
    assert (block.mlp.c_fc.weight.grad is not None) == feed_forward


def test_a_reading_adds_no_weights():
    names = set(build().state_dict())
    assert all(set(build(dense_attention=reading).state_dict()) == names for reading in READINGS)
