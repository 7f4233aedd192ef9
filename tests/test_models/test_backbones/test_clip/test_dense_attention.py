"""How CLIP's last block is read densely is a key of CLIP and of the image segmenter."""

import pytest
import torch
import torch.nn.functional as F
from tiny_model import code_config, images, tiny_clip

from code_mm.models.backbones.clip import DenseAttention, with_class_token
from code_mm.registry import MODELS


@MODELS.register_module()
class MeanAttention(DenseAttention):
    """A further method of a user's: the mean of all tokens."""

    def __init__(self, share=1.0):
        super().__init__()
        self.share = share

    def forward(self, block, patches, class_token, grid):
        tokens = with_class_token(patches, class_token)
        return patches + self.share * tokens.mean(dim=1, keepdim=True)


def test_a_further_method_is_a_class_and_a_config():
    reading = dict(type='MeanAttention', share=0.5)
    clip, image = tiny_clip(dense_attention=reading), images(2, 16, 24)
    trunk = clip.trunk(image)
    mean = torch.cat([trunk.tokens, trunk.class_token], dim=1).sum(dim=1, keepdim=True) / 7
    features = clip.visual.ln_post(trunk.tokens + 0.5 * mean) @ clip.visual.proj
    expected = features.transpose(1, 2).view(2, 32, 2, 3)
    torch.testing.assert_close(clip(image)[0], expected)
    # whole images are embedded as ever, and a reading has no weights
    assert torch.equal(clip.encode_image(image), tiny_clip().encode_image(image))
    assert clip.state_dict().keys() == tiny_clip().state_dict().keys()
    # CoDe starts from it, no other key changed
    segmenter = dict(type='ImageSegmenter', num_upsamplings=0, tail=dict(dense_attention=reading))
    model = MODELS.build(code_config(image_segmenter=segmenter))
    model.backbone.load_state_dict(clip.state_dict())
    model.image_segmenter.copy_from(model.backbone)
    torch.testing.assert_close(model.extract_feat(image)[0], F.normalize(expected, dim=1))


def test_mistakes_are_named():
    with pytest.raises(KeyError, match='MeenAttention is not in the'):
        tiny_clip(dense_attention=dict(type='MeenAttention'))
    clip = tiny_clip(dense_attention=dict(type='MeanAttention'))
    alone = clip.trunk(images(1, 16, 16))._replace(class_token=None)
    with pytest.raises(ValueError, match=r'class token beside the patch tokens.*SelfOnlyAttention'):
        clip.dense(alone)
