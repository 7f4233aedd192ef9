import pytest
import torch
from tiny_model import images, tiny_clip

from code_mm.models.backbones import CLIP


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


def test_one_tower_will_do_where_only_texts_are_embedded():
    clip = tiny_clip(image_tower=False)
    assert not any(name.startswith('visual') for name in clip.state_dict())
    whole = tiny_clip()
    clip.load_state_dict(whole.state_dict(), strict=False)
    ids = clip.tokenize('a star')
    assert torch.equal(clip.encode_text(ids), whole.encode_text(ids))
