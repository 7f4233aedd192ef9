import pytest
import torch
import torch.nn.functional as F
from tiny_model import code_config, images, tiny_clip

from code_mm.models.backbones import CLIP
from code_mm.models.backbones.clip import DenseAttention, with_class_token
from code_mm.registry import MODELS


@MODELS.register_module()
class MeanAttention(DenseAttention):
    """A further way of a user's to read the last block densely: the mean of all tokens."""

    def __init__(self, share=1.0):
        super().__init__()
        self.share = share

    def forward(self, block, patches, class_token, grid):
        tokens = with_class_token(patches, class_token)
        return patches + self.share * tokens.mean(dim=1, keepdim=True)


def test_a_further_dense_attention_is_a_class_and_a_config():
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
    alone = trunk._replace(class_token=None)
    with pytest.raises(ValueError, match=r'class token beside the patch tokens.*SelfOnlyAttention'):
        clip.dense(alone)


def test_gradients_pass_frozen_parameters():
    clip = tiny_clip()
    assert not any(p.requires_grad for p in clip.parameters())
    for method in (clip.encode_image, lambda x: clip(x)[0]):
        image = images(1, 32, 32).requires_grad_()
        method(image).square().sum().backward()
        assert image.grad.abs().min() > 0
    words = clip.embed_tokens(clip.tokenize('a star')).requires_grad_()
    clip.encode_words(words, torch.tensor([4])).sum().backward()
    assert (words.grad[0].abs().amax(-1) > 0).tolist() == [True] * 4 + [False] * 20
    clip = tiny_clip(frozen=False)
    clip.encode_image(images(1, 32, 32)).sum().backward()
    assert all(p.grad is not None for p in clip.visual.parameters())


def test_one_tower_will_do_where_only_texts_are_embedded():
    clip, whole = tiny_clip(image_tower=False), tiny_clip()
    assert not any(name.startswith('visual') for name in clip.state_dict())
    clip.load_state_dict(whole.state_dict(), strict=False)
    ids = clip.tokenize('a star')
    assert torch.equal(clip.encode_text(ids), whole.encode_text(ids))


@pytest.mark.parametrize(
    ('act', 'match'),
    [
        (lambda clip: clip.encode_image(images(1, 7, 32)), r'at least 8 x 8 .* got \(7, 32\)'),
        (lambda clip: clip.trunk(images(1, 32, 5)), r'at least 8 x 8 pixels .* got \(32, 5\)'),
        (
            lambda clip: clip.encode_text(clip.tokenize('a', 30)),
            'at most 24 tokens, but got 30; set context_length',
        ),
        (
            lambda clip: clip.encode_continuations(*map(torch.zeros, ((4, 32), (2, 21, 32), 2))),
            'at most 24 tokens, but got 25',
        ),
        (lambda _: CLIP(vision_layers=1), 'at least 2 vision layers, but got 1'),
        (lambda _: CLIP(image_size=100), 'multiple of the patch size 16, but got 100'),
    ],
)
def test_mistakes(act, match):
    with pytest.raises(ValueError, match=match):
        act(tiny_clip())
