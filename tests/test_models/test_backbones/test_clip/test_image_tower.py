import mmseg.registry
import pytest
import torch
from tiny_model import SIZES, images, tiny_clip

from code_mm.models.backbones import CLIP
from code_mm.models.backbones.clip import PatchTokens


@pytest.fixture(scope='module')
def visual():
    return tiny_clip().visual


def cubic(distance, a=-0.75):
    """Keys' kernel with the constant of torch and OpenCV."""
    x = abs(distance)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def resize_matrix(new, old):
    """Weights [new, old] of bicubic interpolation at pixel centres, borders repeated."""
    matrix = torch.zeros(new, old)
    for i in range(new):
        centre = (i + 0.5) * old / new - 0.5
        first = int(torch.floor(torch.tensor(centre)))
        for j in range(first - 1, first + 3):
            matrix[i, min(max(j, 0), old - 1)] += cubic(centre - j)
    return matrix


# (2, 8) has as many patches as the trained 4 x 4
@pytest.mark.parametrize('grid', [(4, 4), (6, 3), (2, 8), (1, 1)])
def test_positions_are_resized_bicubically(visual, grid):
    grid_part = visual.positional_embedding[1:].view(4, 4, -1)
    rows, columns = resize_matrix(grid[0], 4), resize_matrix(grid[1], 4)
    expected = torch.einsum('yi,xj,ijc->yxc', rows, columns, grid_part).flatten(0, 1)
    positions = visual._positions(grid)
    torch.testing.assert_close(positions[1:], expected)
    assert torch.equal(positions[0], visual.positional_embedding[0])


def test_patches_become_tokens_row_by_row(visual):
    image = images(1, 16, 24)
    tokens, grid = visual._embed(image)
    assert grid == (2, 3)
    patch = image[0, :, 8:16, 16:24]  # row 1, column 2: the sixth
    token = torch.einsum('cij,dcij->d', patch, visual.conv1.weight) + visual._positions(grid)[6]
    torch.testing.assert_close(tokens[0, 6], visual.ln_pre(token))
    first = visual.class_embedding + visual.positional_embedding[0]
    torch.testing.assert_close(tokens[0, 0], visual.ln_pre(first))
    numbers = torch.arange(6.0).view(1, 6, 1)
    assert PatchTokens(numbers, grid).to_map().tolist() == [[[[0, 1, 2], [3, 4, 5]]]]
    # pixels behind the last whole patch are not seen
    wider = images(1, 21, 30)
    torch.testing.assert_close(visual.encode(wider), visual.encode(wider[..., :16, :24]))


def test_dense_features_see_their_own_token_only(visual):
    trunk = visual.trunk(images(2, 16, 24))
    dense = visual.dense(trunk)
    assert dense.shape == (2, SIZES['embed_dim'], 2, 3)
    single = PatchTokens(trunk.tokens[1:, 4:5], (1, 1))
    torch.testing.assert_close(dense[1:, :, 1:2, 1:2], visual.dense(single))


def test_trunk_ends_before_the_last_block(visual):
    image = images(1, 32, 32)
    trunk = visual.trunk(image)
    tokens, _ = visual._embed(image)
    for block in visual.transformer.resblocks[:2]:
        tokens = block(tokens)
    torch.testing.assert_close(trunk.tokens, tokens[:, 1:])
    torch.testing.assert_close(trunk.class_token, tokens[:, :1])
    whole = visual.transformer.resblocks[2](tokens)
    torch.testing.assert_close(visual.encode(image), visual.ln_post(whole[:, 0]) @ visual.proj)


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
