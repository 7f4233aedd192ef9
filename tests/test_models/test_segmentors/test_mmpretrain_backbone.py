r"""``mmpretrain.VisionTransformer`` as the backbone of the zero-shot head.

Skipped where mmpretrain or torchvision is missing. There is no torchvision for a CPU build of
this PyTorch, but one without its compiled operators is enough:

    pip install --no-deps --target DIR torchvision==0.28.0 onedl-mmpretrain==1.3.6 \
        einops importlib-metadata zipp mat4py modelindex
    PYTHONPATH=DIR:tests python -m pytest -p torchvision_operators \
        tests/test_models/test_segmentors/test_mmpretrain_backbone.py
"""

import pytest
import torch
from clip_to_mmpretrain import to_mmpretrain_names
from mmengine.registry import DefaultScope
from mmengine.runner import save_checkpoint
from tiny_configs import load
from tiny_model import SIZES, images, tiny_clip

from code_mm.registry import MODELS
from code_mm.weights.segmentor_layouts import rename_own

NAMES = ['star', 'boat', 'fish']


@pytest.fixture(scope='module')
def clip():
    try:
        import mmpretrain.models  # noqa: F401
    except ImportError as error:
        pytest.skip(f'mmpretrain cannot be imported: {error}')
    return tiny_clip()


@pytest.fixture(scope='module')
def model(clip, tmp_path_factory):
    """The config of configs/eval at a tiny size, with the weights of a tiny CLIP."""
    file = tmp_path_factory.mktemp('weights') / 'tiny.pth'
    save_checkpoint(dict(state_dict=to_mmpretrain_names(clip.state_dict())), str(file))
    cfg = load('eval/mmpretrain_vit-b16_ade20k.py').model
    width, patch = SIZES['vision_width'], SIZES['patch_size']
    arch = dict(embed_dims=width, num_layers=SIZES['vision_layers'], num_heads=3)
    cfg.backbone.arch = dict(arch, feedforward_channels=4 * width)
    cfg.backbone.update(img_size=SIZES['image_size'], patch_size=patch, frozen_stages=3)
    cfg.decode_head.update(in_channels=width, embed_dim=SIZES['embed_dim'])
    cfg.vision_language_backbone.update(SIZES)
    cfg.test_cfg.update(crop_size=(32, 32), stride=(16, 16))
    cfg.update(size_divisor=patch, init_cfg=dict(type='Pretrained', checkpoint=str(file)))
    with DefaultScope.overwrite_default_scope('mmseg'):  # as the Runner does
        model = MODELS.build(cfg)
    model.init_weights()
    model.set_class_names(NAMES)
    return model.eval()


@torch.no_grad()
def test_every_weight_has_its_place(model, clip):
    """Also the names that `load_state_dict` would pass over silently."""
    own = model.state_dict()
    converted = rename_own(to_mmpretrain_names(clip.state_dict()), own.keys())
    assert own.keys() - converted.keys() == {
        'decode_head.similarity_to_mask.scale',
        'decode_head.similarity_to_mask.bias',
        'vision_language_backbone.logit_scale',
    }
    assert not converted.keys() - own.keys()
    assert all(torch.equal(own[name], value) for name, value in converted.items())


@torch.no_grad()
@pytest.mark.parametrize('size', [(32, 32), (32, 48)])
def test_the_backbone_computes_what_clip_does(model, clip, size):
    """All attention layers in full; positions of another grid are interpolated alike."""
    image = images(2, *size)
    tokens, grid = clip.visual._embed(image)
    expected = clip.visual.ln_post(clip.visual.transformer(tokens)[:, 1:])
    (features,) = model.backbone(image)
    assert features.shape == (2, SIZES['vision_width'], *grid)
    torch.testing.assert_close(features.flatten(2).mT, expected, atol=1e-5, rtol=1e-4)
    projected = model.decode_head.projection(features).flatten(2).mT
    torch.testing.assert_close(projected, expected @ clip.visual.proj, atol=1e-5, rtol=1e-4)
