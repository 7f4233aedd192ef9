"""A reading is a key of CLIP's image tower, of CLIP and of the image segmenter."""

import pytest
import torch
from mmengine.config import Config
from tiny_model import SIZES, build, code_config, images, tiny_clip

from code_mm.models.backbones.clip import DenseAttention
from code_mm.registry import MODELS
from projects.dense_clip import NeighbourhoodAttention

READINGS = {
    'MaskCLIP': dict(type='SelfOnlyAttention'),
    'SCLIP': dict(type='CorrelativeSelfAttention'),
    'ClearCLIP': dict(type='SelfSelfAttention'),
    'NACLIP': dict(type='NeighbourhoodAttention', std=2.0),
}


@pytest.fixture
def mean_attention():
    """A further method, registered by its user: the mean of the values of all tokens."""

    @MODELS.register_module()
    class MeanAttention(DenseAttention):
        def __init__(self, share=1.0):
            super().__init__()
            self.share = share

        def forward(self, block, patches, class_token, grid):
            tokens = torch.cat([class_token, patches], dim=1)
            return patches + self.share * tokens.mean(dim=1, keepdim=True)

    yield
    for registry in (MODELS, MODELS.parent):
        registry.module_dict.pop('MeanAttention')


def test_a_further_method_is_a_class_and_a_config(mean_attention):
    text = "reading = dict(type='MeanAttention', share=0.5)"
    reading = Config.fromstring(text, file_format='.py').reading
    clip, image = tiny_clip(dense_attention=reading), images(2, 16, 24)
    trunk = clip.visual.trunk(image)
    mean = torch.cat([trunk.tokens, trunk.class_token], dim=1).sum(dim=1, keepdim=True) / 7
    features = clip.visual.ln_post(trunk.tokens + 0.5 * mean) @ clip.visual.proj
    expected = features.transpose(1, 2).view(2, 32, 2, 3)
    torch.testing.assert_close(clip(image)[0], expected)
    # ... and CoDe starts from it, no other key changed
    segmenter = dict(type='ImageSegmenter', num_upsamplings=0, dense_attention=reading)
    model = MODELS.build(code_config(image_segmenter=segmenter))
    model.backbone.load_state_dict(clip.state_dict())
    model.image_segmenter.copy_from(model.backbone.visual)
    (dense,) = model.extract_feat(image)
    torch.testing.assert_close(dense, torch.nn.functional.normalize(expected, dim=1))


@pytest.mark.parametrize('name', READINGS)
def test_the_key_of_clip_is_that_of_its_image_tower(name):
    clip = tiny_clip(dense_attention=READINGS[name])
    sizes = {k.removeprefix('vision_'): v for k, v in SIZES.items() if k.startswith('vision_')}
    sizes |= {key: SIZES[key] for key in ('embed_dim', 'image_size', 'patch_size')}
    tower = build(dict(type='CLIPImageEncoder', **sizes, dense_attention=READINGS[name]), seed=1)
    tower.load_state_dict(clip.visual.state_dict())  # a reading has no weights
    image = images(2, 24, 40)
    assert torch.equal(tower(image)[0], clip(image)[0])
    assert clip(image)[0].shape == (2, 32, 3, 5)


def test_readings_differ():
    image = images(1, 32, 32)
    maps = [tiny_clip(dense_attention=reading)(image)[0] for reading in READINGS.values()]
    gaps = [(a - b).abs().max() for i, a in enumerate(maps) for b in maps[:i]]
    assert min(gaps) > 1e-3
    assert torch.equal(tiny_clip()(image)[0], maps[0])  # MaskCLIP is the default


def test_whole_images_are_embedded_alike():
    image = images(2, 32, 32)
    expected = tiny_clip().encode_image(image)
    for reading in READINGS.values():
        assert torch.equal(tiny_clip(dense_attention=reading).encode_image(image), expected)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('name', READINGS)
def test_mixed_precision_and_half_weights(name, dtype):
    clip, image = tiny_clip(dense_attention=READINGS[name]), images(2, 24, 40)
    (expected,) = clip(image)
    with torch.autocast('cpu', dtype=dtype):
        (mixed,) = clip(image)
    (half,) = clip.to(dtype)(image.to(dtype))
    error = dict(rtol=0.1, atol=0.1) if dtype == torch.bfloat16 else dict(rtol=0.02, atol=0.02)
    for value in (mixed, half):
        assert value.dtype == dtype
        torch.testing.assert_close(value.float(), expected, **error)


def test_windows_of_another_size_need_no_new_model():
    reading = NeighbourhoodAttention(2.0)
    clip = tiny_clip()
    clip.visual.dense_attention = reading
    for height, width in ((16, 16), (40, 16), (16, 40)):
        image = images(1, height, width)
        (first,), (again,) = clip(image), clip(image)
        assert first.shape == (1, 32, height // 8, width // 8)
        assert torch.equal(first, again)


def test_a_misspelt_reading_is_named():
    with pytest.raises(KeyError, match='NeighborhoodAttention is not in the'):
        tiny_clip(dense_attention=dict(type='NeighborhoodAttention'))
