import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_model import SIZES, images, tiny_clip

from code_mm.models.heads import ZeroShotHead, embed_class_names
from code_mm.registry import MODELS
from code_mm.vocabulary import EVALUATION_TEMPLATES

NAMES = ('star', 'boat', 'fish')
TEXT = dict(
    type='code_mm.CLIPTextEncoder', context_length=24, width=32, layers=2, heads=2, embed_dim=32
)
META = [dict(img_shape=(6, 8))]


def build(**keys):
    return MODELS.build(dict(type='ZeroShotHead', in_channels=32, **keys))


def unit_rows(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, 32, generator=generator), dim=-1)


def features(b=2, h=3, w=4, seed=0, channels=32):
    return torch.randn(b, channels, h, w, generator=torch.Generator().manual_seed(seed))


def slow_cosine(maps, embed):
    b, _, h, w = maps.shape
    cosine = torch.empty(b, len(embed), h, w)
    for i in range(b):
        for c, row in enumerate(embed):
            for y in range(h):
                for x in range(w):
                    vector = maps[i, :, y, x]
                    cosine[i, c, y, x] = vector @ row / vector.norm()
    return cosine


def bilinear(x, size):
    return F.interpolate(x, size=size, mode='bilinear', align_corners=False)


def test_logits_and_scores_of_given_embeddings():
    head = build()
    embed = unit_rows(3, 1)
    head.set_class_embeddings(NAMES, embed)
    maps = features()
    logits = 10 * slow_cosine(maps, embed) - 2.5
    torch.testing.assert_close(head([maps]), logits)
    expected = bilinear(torch.sigmoid(logits), (6, 8))
    torch.testing.assert_close(head.predict([maps], META, {}), expected)
    assert (head.num_classes, head.out_channels) == (3, 3)


def test_background_is_a_constant_plane_in_front():
    head = build(background_threshold=0.4)
    embed = unit_rows(2, 1)
    head.set_class_embeddings(['background', 'star', 'boat'], embed)
    maps = features()
    scores = head.predict([maps], META, {})
    assert (head.num_classes, scores.shape) == (3, (2, 3, 6, 8))
    assert torch.equal(scores[:, 0], torch.full((2, 6, 8), 0.4))
    plain = build()
    plain.set_class_embeddings(['star', 'boat'], embed)
    torch.testing.assert_close(scores[:, 1:], plain.predict([maps], META, {}))
    # the logits that a loss takes have the same planes, and the same winner
    logits = head([maps])
    torch.testing.assert_close(logits[:, 0], torch.full((2, 3, 4), math.log(0.4 / 0.6)))
    torch.testing.assert_close(logits[:, 1:], plain([maps]))
    assert torch.equal(
        logits.argmax(1), head.predict([maps], [dict(img_shape=(3, 4))], {}).argmax(1)
    )


def test_names_are_embedded_by_the_heads_own_text_tower():
    head = build(text_encoder=TEXT, class_names=NAMES)
    assert head.class_embeddings is None  # the tower's weights may still be loaded
    maps = features()
    logits = head([maps])
    expected = embed_class_names(head.text_encoder, NAMES, EVALUATION_TEMPLATES)
    torch.testing.assert_close(head.class_embeddings, expected)
    torch.testing.assert_close(logits, 10 * slow_cosine(maps, expected) - 2.5)
    head.set_class_names(('tree', 'house'))
    expected = embed_class_names(head.text_encoder, ('tree', 'house'), EVALUATION_TEMPLATES)
    torch.testing.assert_close(head.class_embeddings, expected)
    assert (head.num_classes, head.class_names) == (2, ['tree', 'house'])


def test_own_templates():
    head = build(text_encoder=TEXT, templates=['a drawing of a {}'])
    head.set_class_names(NAMES)
    expected = embed_class_names(head.text_encoder, NAMES, ['a drawing of a {}'])
    torch.testing.assert_close(head.class_embeddings, expected)


def test_synonyms_share_a_class_that_takes_their_maximum():
    head = build(text_encoder=TEXT)
    names = ['car|automobile', 'boat', ' ship | | vessel ']
    assert head.phrases(names) == ['car', 'automobile', 'boat', 'ship', 'vessel']
    head.set_class_names(names)
    maps = features()
    each = 10 * slow_cosine(maps, head.class_embeddings) - 2.5
    expected = torch.stack([each[:, :2].amax(1), each[:, 2], each[:, 3:].amax(1)], dim=1)
    torch.testing.assert_close(head([maps]), expected)
    scores = head.predict([maps], [dict(img_shape=(3, 4))], {})
    torch.testing.assert_close(scores, torch.sigmoid(expected))
    with pytest.raises(ValueError, match=r'expected 5 embeddings for .* but got 3'):
        head.set_class_embeddings(names, unit_rows(3, 1))


def test_knowledge_preserving_mix():
    """weight * sigmoid(scale * (cos - threshold)) + (1 - weight) * mask, on the mask grid."""
    keys = dict(weight=0.6, scale=20.0, threshold=0.1)
    head = build(knowledge_preserving=keys)
    main, frozen = unit_rows(3, 1), unit_rows(3, 2)
    head.set_class_embeddings(NAMES, main, frozen)
    fine, coarse = features(h=6, w=8), features(h=3, w=4, seed=5)
    own = torch.sigmoid(10 * slow_cosine(fine, main) - 2.5)
    kept = bilinear(torch.sigmoid(20.0 * (slow_cosine(coarse, frozen) - 0.1)), (6, 8))
    expected = 0.6 * kept + 0.4 * own
    torch.testing.assert_close(head.predict([fine, coarse], META, {}), expected)


def test_knowledge_preserving_keys():
    mix = build(knowledge_preserving=dict(weight=0.3)).knowledge_preserving
    assert (mix.weight, mix.scale, mix.threshold) == (0.3, 10.0, 0.25)
    assert mix.templates == EVALUATION_TEMPLATES
    assert build(knowledge_preserving=dict(weight=0)).knowledge_preserving is None
    with pytest.raises(TypeError, match='wieght'):
        build(knowledge_preserving=dict(wieght=0.3))
    for weight in (-0.1, 1.5):
        with pytest.raises(ValueError, match=rf'a weight in \(0, 1\], but got {weight}'):
            build(knowledge_preserving=dict(weight=weight))


class Halve(torch.nn.Module):
    """A post-processor that tells whether it saw the image."""

    def forward(self, image, masks):
        assert image.shape == (2, 3, 12, 16)
        return masks * image.mean()


def test_the_post_processor_comes_before_the_mix_and_needs_the_image():
    head = build(knowledge_preserving=dict(weight=0.3), background_threshold=0.4)
    head.post_processor = Halve()
    embed = unit_rows(2, 1)
    head.set_class_embeddings(['background', 'star', 'boat'], embed, embed)
    maps, image = features(), torch.full((2, 3, 12, 16), 0.5)
    cosine = slow_cosine(maps, embed)
    halved = torch.sigmoid(10 * cosine - 2.5) / 2
    mixed = 0.3 * torch.sigmoid(10 * (cosine - 0.25)) + 0.7 * halved
    scores = head.predict([maps], META, {}, image=image)
    torch.testing.assert_close(scores[:, 1:], bilinear(mixed, (6, 8)))
    assert torch.equal(scores[:, 0], torch.full((2, 6, 8), 0.4))
    with pytest.raises(ValueError, match=r"needs the image.*use type='ZeroShotSegmentor'"):
        head.predict([maps], META, {})


def test_pamr_is_built_from_its_config():
    head = build(post_processor=dict(type='PAMR', num_iter=1, dilations=(1,)))
    head.set_class_embeddings(NAMES, unit_rows(3, 1))
    maps = features()
    image = torch.full((2, 3, 12, 16), 0.5)  # on a flat image PAMR takes the neighbours' mean
    masks = torch.sigmoid(head([maps]))
    padded = F.pad(masks, (1, 1, 1, 1), mode='replicate')
    windows = [padded[..., y : y + 3, x : x + 4] for y in range(3) for x in range(3)]
    del windows[4]
    expected = bilinear(torch.stack(windows).mean(0), (6, 8))
    torch.testing.assert_close(head.predict([maps], META, {}, image=image), expected)


def test_a_projection_is_learnt_for_foreign_features():
    head = build(embed_dim=32, project=False)
    assert isinstance(head.projection, torch.nn.Identity)
    head = MODELS.build(dict(type='ZeroShotHead', in_channels=5, embed_dim=32, project=True))
    embed = unit_rows(3, 1)
    head.set_class_embeddings(NAMES, embed)
    maps = features(channels=5)
    weight, bias = head.projection.weight[..., 0, 0], head.projection.bias
    projected = torch.einsum('bchw,dc->bdhw', maps, weight) + bias[:, None, None]
    torch.testing.assert_close(head([maps]), 10 * slow_cosine(projected, embed) - 2.5)
    with pytest.raises(ValueError, match=r'32 channels .* in_channels is 5; set project=True'):
        MODELS.build(dict(type='ZeroShotHead', in_channels=5, embed_dim=32))


def test_several_inputs_are_concatenated_as_in_mmseg():
    head = MODELS.build(
        dict(
            type='ZeroShotHead',
            in_channels=[5, 3],
            in_index=[0, 1],
            input_transform='resize_concat',
            embed_dim=32,
            project=True,
        )
    )
    head.set_class_embeddings(NAMES, unit_rows(3, 1))
    maps = [features(channels=5, h=4, w=4), features(channels=3, h=2, w=2)]
    joined = torch.cat([maps[0], bilinear(maps[1], (4, 4))], dim=1)
    single = MODELS.build(dict(type='ZeroShotHead', in_channels=8, embed_dim=32, project=True))
    single.load_state_dict(head.state_dict())
    single.set_class_embeddings(NAMES, unit_rows(3, 1))
    torch.testing.assert_close(head(maps), single([joined]))


@pytest.mark.parametrize('names', [[], 'star', ['star', ''], ['star', 3], ['star', ' | '], None])
def test_wrong_class_lists(names):
    head = build(text_encoder=TEXT)
    with pytest.raises((ValueError, TypeError), match=r'class names|not iterable'):
        head.set_class_names(names)


def test_a_class_list_of_the_config_is_checked_at_once():
    with pytest.raises(ValueError, match="list of non-empty class names, but got 'star'"):
        build(class_names='star')


def test_rules_of_the_background():
    head = build(text_encoder=TEXT, background_threshold=0.4)
    for names in (['star', 'boat'], ['background'], ['star', 'background']):
        with pytest.raises(ValueError, match="expected 'background' as the first of at least two"):
            head.set_class_names(names)
    head.set_class_names(['background', 'star'])
    assert head.class_embeddings.shape == (1, 32)
    with pytest.raises(ValueError, match=r"at least two classes, but got \['star'\]"):
        build(text_encoder=TEXT).set_class_names(['star'])
    for threshold in (0, 1, -0.1, 40):
        with pytest.raises(ValueError, match=r'background_threshold in \(0, 1\), but got'):
            build(background_threshold=threshold)


def test_names_without_a_text_tower_and_no_names():
    with pytest.raises(ValueError, match='no text_encoder to embed class names; give it one'):
        build().set_class_names(NAMES)
    with pytest.raises(RuntimeError, match='no class names are known; add ClassNamesHook'):
        build(text_encoder=TEXT)([features()])


def test_class_embeddings_follow_the_weights():
    head = build(text_encoder=TEXT, class_names=NAMES)
    before = head([features()])
    other = build(text_encoder=TEXT, class_names=NAMES)
    assert not any('class_embeddings' in name for name in other.state_dict())
    head.load_state_dict(other.state_dict())
    assert head.class_embeddings is None
    after = head([features()])
    torch.testing.assert_close(after, other([features()]))
    assert (after - before).abs().max() > 1e-3


def segmentor(head):
    return MODELS.build(
        dict(
            type='mmseg.EncoderDecoder',
            backbone=dict(
                type='ResNetV1c',
                depth=18,
                stem_channels=8,
                base_channels=8,
                num_stages=2,
                strides=(1, 2),
                dilations=(1, 1),
                out_indices=(0, 1),
            ),
            decode_head=dict(type='ZeroShotHead', in_channels=16, in_index=1, project=True, **head),
            test_cfg=ConfigDict(mode='whole'),
        )
    )


def labelled(labels):
    samples = []
    for label in labels:
        shape = tuple(label.shape)
        sample = SegDataSample(metainfo=dict(img_shape=shape, ori_shape=shape))
        sample.gt_sem_seg = PixelData(data=label[None])
        samples.append(sample)
    return samples


@pytest.mark.parametrize('background', [None, 0.4])
def test_trained_by_cross_entropy_in_an_ordinary_mmseg_segmentor(background):
    """Left half class 0, right half class 1, 255 in a corner; the text tower stays frozen."""
    names = ['background', 'star', 'boat'] if background else list(NAMES)
    torch.manual_seed(0)
    head = dict(embed_dim=32, text_encoder=TEXT, class_names=names, background_threshold=background)
    model = segmentor(head)
    label = torch.zeros(32, 32, dtype=torch.long)
    label[:, 16:] = 1
    label[:4, :4] = 255
    image = torch.where(label[None] == 1, 1.0, -1.0).expand(3, -1, -1).contiguous()
    image = torch.stack([image, image]) + 0.1 * images(2, 32, 32)
    samples = labelled([label, label])

    maps = model.extract_feat(image)
    values = model.decode_head.loss(maps, samples, None)
    logits = F.interpolate(model.decode_head(maps), (32, 32), mode='bilinear', align_corners=False)
    log_p = logits.log_softmax(1)
    seen = label != 255
    expected = -torch.stack(
        [log_p[i].gather(0, label.clamp(max=2)[None])[0][seen] for i in range(2)]
    ).mean()
    torch.testing.assert_close(values['loss_ce'], expected)

    frozen = {k: v.clone() for k, v in model.decode_head.text_encoder.state_dict().items()}
    learnable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learnable, lr=1e-2)
    model.train()
    first = last = None
    for _ in range(30):
        losses = model.loss(image, samples)
        optimizer.zero_grad()
        losses['decode.loss_ce'].backward()
        optimizer.step()
        first = first or losses['decode.loss_ce'].item()
        last = losses['decode.loss_ce'].item()
    assert last < 0.5 * first
    assert all(p.grad is not None for n, p in model.named_parameters() if p.requires_grad)
    for key, value in model.decode_head.text_encoder.state_dict().items():
        assert torch.equal(value, frozen[key]), key
    model.eval()
    predicted = torch.stack([r.pred_sem_seg.data[0] for r in model.predict(image, samples)])
    assert (predicted == label)[:, seen].float().mean() > 0.9


def test_padding_by_the_preprocessor_does_not_shift_the_scores():
    """An image padded to 40 x 40 behind its 32 x 32 pixels: what is cropped is the padding."""
    torch.manual_seed(0)
    model = segmentor(dict(embed_dim=32, text_encoder=TEXT, class_names=list(NAMES))).eval()
    image = images(1, 32, 32)
    padded = F.pad(image, (0, 8, 0, 8))
    meta = dict(
        img_shape=(32, 32),
        ori_shape=(32, 32),
        pad_shape=(40, 40),
        img_padding_size=(0, 8, 0, 8),
    )
    (sample,) = labelled([torch.zeros(32, 32, dtype=torch.long)])
    sample.set_metainfo(meta)
    (result,) = model.predict(padded, [sample])
    similarity = model.decode_head(model.extract_feat(padded))
    expected = bilinear(torch.sigmoid(similarity), (40, 40))[0, :, :32, :32]
    torch.testing.assert_close(result.seg_logits.data, expected)


def test_it_reads_maskclip_features_of_a_clip():
    clip = tiny_clip()
    head = MODELS.build(dict(type='ZeroShotHead', in_channels=SIZES['embed_dim']))
    assert isinstance(head, ZeroShotHead)
    embed = embed_class_names(clip.text, NAMES, EVALUATION_TEMPLATES)
    head.set_class_embeddings(NAMES, embed)
    (dense,) = clip(images(2, 24, 32))
    torch.testing.assert_close(head((dense,)), 10 * slow_cosine(dense, embed) - 2.5)
