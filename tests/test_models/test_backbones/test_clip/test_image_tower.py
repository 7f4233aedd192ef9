import mmseg.registry
import pytest
import torch
import torch.nn.functional as F
from tiny_model import SIZES, images, tiny_clip

from code_mm.models.backbones import CLIP


# the trained grid of 4 x 4 patches; one with as many; pixels left over
@pytest.mark.parametrize(
    ('size', 'grid'), [((32, 32), (4, 4)), ((16, 64), (2, 8)), ((21, 30), (2, 3))]
)
def test_steps_in_their_order(size, grid):
    clip = tiny_clip()
    tower, image = clip.visual, images(2, *size)
    tokens = []
    for y in range(grid[0]):
        for x in range(grid[1]):
            patch = image[:, :, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8]
            tokens.append(torch.einsum('bcij,dcij->bd', patch, tower.conv1.weight))
    tokens = torch.stack([tower.class_embedding.expand(2, -1), *tokens], dim=1)
    places = tower.positional_embedding[1:].T.reshape(1, -1, 4, 4)
    places = F.interpolate(places, grid, mode='bicubic')[0].flatten(1).T
    tokens = tower.ln_pre(tokens + torch.cat([tower.positional_embedding[:1], places]))
    *first, last = tower.transformer.resblocks
    for block in first:
        tokens = block(tokens)
    trunk = clip.trunk(image)
    torch.testing.assert_close(trunk.tokens, tokens[:, 1:])
    torch.testing.assert_close(trunk.class_token, tokens[:, :1])
    embedding = tower.ln_post(last(tokens)[:, 0]) @ tower.proj
    torch.testing.assert_close(clip.encode_image(image), embedding)
    # MaskCLIP: a token has nothing but itself to attend to
    alone = last(trunk.tokens.flatten(0, 1)[:, None])[:, 0].unflatten(0, (2, -1))
    dense = (tower.ln_post(alone) @ tower.proj).unflatten(1, grid).permute(0, 3, 1, 2)
    torch.testing.assert_close(clip(image)[0], dense)


@pytest.mark.parametrize('size', [(7, 32), (32, 5)])
@pytest.mark.parametrize('method', ['encode_image', 'trunk', 'forward'])
def test_an_image_smaller_than_a_patch_is_refused(size, method):
    match = rf'at least 8 x 8 pixels .* but got \({size[0]}, {size[1]}'
    with pytest.raises(ValueError, match=match):
        getattr(tiny_clip(), method)(images(1, *size))


def test_gradients_reach_the_image_and_unfrozen_parameters():
    clip = tiny_clip()
    assert not any(p.requires_grad for p in clip.parameters())
    for method in (clip.encode_image, lambda x: clip(x)[0]):
        image = images(1, 32, 32).requires_grad_()
        method(image).square().sum().backward()
        assert image.grad.abs().min() > 0
    clip = tiny_clip(frozen=False)
    clip.encode_image(images(1, 32, 32)).sum().backward()
    assert all(p.grad is not None for p in clip.visual.parameters())


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match='at least 2 vision layers, but got 1'):
        CLIP(vision_layers=1)
    with pytest.raises(ValueError, match='multiple of the patch size 16, but got 100'):
        CLIP(image_size=100)


def test_it_is_a_backbone_of_mmseg():
    backbone = mmseg.registry.MODELS.build(dict(type='CLIP', **SIZES))
    (features,) = backbone(images(1, 32, 48))
    assert features.shape == (1, SIZES['embed_dim'], 4, 6)


def test_one_tower_will_do_where_only_texts_are_embedded():
    clip = tiny_clip(image_tower=False)
    assert not any(name.startswith('visual') for name in clip.state_dict())
    whole = tiny_clip()
    clip.load_state_dict(whole.state_dict(), strict=False)
    ids = clip.tokenize('a star')
    assert torch.equal(clip.encode_text(ids), whole.encode_text(ids))
