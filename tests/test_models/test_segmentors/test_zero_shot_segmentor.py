import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmseg.structures import SegDataSample
from tiny_model import images, randomise

import projects.dense_clip  # noqa: F401  registers its parts
from code_mm.models.heads import embed_class_names
from code_mm.registry import MODELS
from code_mm.vocabulary import EVALUATION_TEMPLATES

NAMES = ['star', 'boat', 'fish']
VISUAL = dict(
    type='CLIPImageEncoder', image_size=32, patch_size=8, width=48, layers=3, heads=3, embed_dim=32
)
TEXT = dict(
    type='code_mm.CLIPTextEncoder', context_length=24, width=32, layers=2, heads=2, embed_dim=32
)


def build(head=None, **keys):
    """MaskCLIP, tiny."""
    config = dict(
        type='ZeroShotSegmentor',
        backbone=VISUAL,
        decode_head=dict(
            type='ZeroShotHead', in_channels=32, text_encoder=TEXT, **(head or dict())
        ),
        test_cfg=dict(mode='whole'),
    )
    model = randomise(MODELS.build(ConfigDict({**config, **keys})))
    return model.eval()


def meta(image):
    shape = tuple(image.shape[-2:])
    return [dict(img_shape=shape, ori_shape=shape)] * len(image)


def expected_scores(model, image, left, right, top, bottom):
    """Zero padding, cosine on the patch grid, sigmoid, bilinear resizing, un-padding."""
    head = model.decode_head
    padded = torch.zeros(
        len(image), 3, image.shape[2] + top + bottom, image.shape[3] + left + right
    )
    padded[:, :, top : top + image.shape[2], left : left + image.shape[3]] = image
    dense = F.normalize(model.backbone(padded)[0], dim=1)
    cosine = torch.einsum('bchw,nc->bnhw', dense, head.class_embeddings)
    to_mask = head.similarity_to_mask
    scores = torch.sigmoid(to_mask.scale * cosine + to_mask.bias)
    scores = F.interpolate(scores, padded.shape[-2:], mode='bilinear', align_corners=False)
    return scores[:, :, top : top + image.shape[2], left : left + image.shape[3]]


@pytest.mark.parametrize(
    ('size', 'padding'),
    [
        ((32, 32), (0, 0, 0, 0)),
        ((30, 37), (1, 2, 1, 1)),  # the right and the bottom get the odd pixel
        ((5, 16), (0, 0, 1, 2)),  # smaller than a patch
    ],
)
def test_windows_are_padded_to_whole_patches(size, padding):
    model = build()
    model.set_class_names(NAMES)
    image = images(2, *size)
    scores = model.inference(image, meta(image))
    torch.testing.assert_close(scores, expected_scores(model, image, *padding))


def test_sliding_windows_are_padded_one_by_one_and_averaged():
    model = build(test_cfg=dict(mode='slide', crop_size=(20, 20), stride=(10, 10)))
    model.set_class_names(NAMES)
    image = images(1, 20, 30)
    one, two = (expected_scores(model, image[..., x : x + 20], 2, 2, 2, 2) for x in (0, 10))
    expected = torch.cat(
        [one[..., :10], (one[..., 10:] + two[..., :10]) / 2, two[..., 10:]], dim=-1
    )
    torch.testing.assert_close(model.inference(image, meta(image)), expected)


def test_size_divisor():
    assert build().size_divisor == 8
    assert build(size_divisor=16).size_divisor == 16
    backbone = dict(type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, out_indices=(3,))
    head = dict(type='ZeroShotHead', in_channels=64, embed_dim=32, project=True, text_encoder=TEXT)
    assert build(backbone=backbone, decode_head=head).size_divisor == 1


def test_class_names_set_the_number_of_planes():
    model = build()
    image = images(1, 32, 32)
    for names in (NAMES, [*NAMES, 'tree', 'house']):
        model.set_class_names(names)
        assert model.out_channels == model.num_classes == len(names)
        (result,) = model.predict(image)
        assert result.seg_logits.data.shape == (len(names), 32, 32)
        assert torch.equal(result.pred_sem_seg.data[0], result.seg_logits.data.argmax(0))


def test_training_drops_class_embeddings_and_the_next_prediction_makes_them_anew():
    model = build()
    model.set_class_names(NAMES)
    image = images(1, 32, 32)
    before = model.inference(image, meta(image))
    assert model.eval() is model  # evaluation mode keeps them
    assert model.decode_head.class_embeddings is not None
    assert model.train() is model
    assert model.decode_head.class_embeddings is None
    randomise(model.decode_head.text_encoder, seed=5)
    model.eval()
    after = model.inference(image, meta(image))
    text = model.decode_head.text_encoder
    expected = embed_class_names(text, NAMES, EVALUATION_TEMPLATES)
    torch.testing.assert_close(model.decode_head.class_embeddings, expected)
    assert (after - before).abs().max() > 1e-4


def test_names_of_the_data_set_are_taken_where_none_were_given():
    """As ``mmseg.apis.init_model`` leaves them."""
    model = build()
    image = images(1, 32, 32)
    with pytest.raises(RuntimeError, match='no class names are known; add ClassNamesHook'):
        model.inference(image, meta(image))
    model.dataset_meta = dict(classes=('tree', 'house'), palette=None)
    assert model.inference(image, meta(image)).shape == (1, 2, 32, 32)
    assert model.decode_head.class_names == ['tree', 'house']
    model.set_class_names(NAMES)  # wins from now on
    model.train().eval()
    assert model.inference(image, meta(image)).shape == (1, 3, 32, 32)


def test_names_of_the_config():
    model = build(head=dict(class_names=NAMES))
    assert model.out_channels == 3
    image = images(1, 32, 32)
    assert model.inference(image, meta(image)).shape == (1, 3, 32, 32)


def test_a_background_wins_where_no_class_reaches_its_threshold():
    model = build(head=dict(background_threshold=0.5))
    model.set_class_names(['background', *NAMES])
    image = images(1, 32, 32)
    (result,) = model.predict(image)
    scores = expected_scores(model, image, 0, 0, 0, 0)[0]
    expected = torch.where(scores.amax(0) > 0.5, scores.argmax(0) + 1, 0)
    assert torch.equal(result.pred_sem_seg.data[0], expected)


def test_pamr_gets_the_padded_image():
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, image, masks):
            seen.append((image, masks.shape))
            return masks

    model = build()
    model.decode_head.post_processor = Spy()
    model.set_class_names(NAMES)
    image = images(1, 30, 32)
    model.inference(image, meta(image))
    assert torch.equal(seen[0][0], F.pad(image, (0, 0, 1, 1)))
    assert seen[0][1] == (1, 3, 4, 4)


def test_results_are_resized_to_the_original_image():
    model = build()
    model.set_class_names(NAMES)
    image = images(1, 32, 32)
    sample = SegDataSample(metainfo=dict(img_shape=(32, 32), ori_shape=(50, 60)))
    (result,) = model.predict(image, [sample])
    scores = model.inference(image, meta(image))
    expected = F.interpolate(scores, (50, 60), mode='bilinear', align_corners=False)[0]
    torch.testing.assert_close(result.seg_logits.data, expected)


def test_another_head_is_refused():
    head = dict(type='FCNHead', in_channels=32, channels=8, num_classes=3, in_index=0)
    with pytest.raises(
        TypeError, match='of type ZeroShotHead, but got FCNHead; use EncoderDecoder'
    ):
        build(decode_head=head)


def test_names_are_read_after_averaging_and_resizing():
    """Cosines of windows are averaged and resized; the softmax over names comes last."""
    scores = dict(type='SoftmaxOverNames', scale=9.0)
    windows = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))
    model = build(dict(name_scores=scores), test_cfg=windows)
    model.set_class_names(['star|moon', 'boat'])
    image = images(1, 32, 48)
    sample = SegDataSample(metainfo=dict(img_shape=(32, 48), ori_shape=(50, 75)))
    with torch.no_grad():
        (found,) = model.predict(image, [sample])
        cosines = []
        for left in (0, 16):
            dense = F.normalize(model.backbone(image[..., left : left + 32])[0], dim=1)
            cosine = torch.einsum('bchw,nc->bnhw', dense, model.decode_head.class_embeddings)
            cosines.append(F.interpolate(cosine, (32, 32), mode='bilinear'))
    total = torch.zeros(1, 3, 32, 48)
    total[..., :32] += cosines[0]
    total[..., 16:] += cosines[1]
    total[..., 16:32] /= 2
    names = F.interpolate(total, (50, 75), mode='bilinear').mul(9.0).softmax(1)[0]
    expected = torch.stack([names[:2].amax(0), names[2]])
    torch.testing.assert_close(found.seg_logits.data, expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(found.pred_sem_seg.data, expected.argmax(0, keepdim=True))
    # labels alone, and without samples
    model.test_cfg.keep_scores = False
    sample = SegDataSample(metainfo=dict(img_shape=(32, 48), ori_shape=(50, 75)))
    with torch.no_grad():
        (labels,) = model.predict(image, [sample])
        (small,) = model.predict(image)
    assert torch.equal(labels.pred_sem_seg.data, found.pred_sem_seg.data)
    assert 'seg_logits' not in labels
    own = total.mul(9.0).softmax(1)[0]
    own = torch.stack([own[:2].amax(0), own[2]]).argmax(0, keepdim=True)
    assert torch.equal(small.pred_sem_seg.data, own)


def test_averaging_logits_is_another_thing_than_averaging_masks():
    image = images(1, 32, 48)
    windows = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))
    found = {}
    for name_scores in (None, dict(type='MasksOfAveragedLogits')):
        head = dict(name_scores=name_scores, background_threshold=0.4)
        model = build(head, test_cfg=windows)
        model.set_class_names(['background', *NAMES])
        with torch.no_grad():
            (sample,) = model.predict(image)
        found[bool(name_scores)] = sample.seg_logits.data
    assert found[True].shape == found[False].shape == (4, 32, 48)
    assert not torch.allclose(found[True], found[False], atol=1e-4)
    assert torch.equal(found[True][0], torch.full((32, 48), 0.4))


def test_name_scores_do_not_go_with_what_refines_windows():
    keys = dict(name_scores=dict(type='SoftmaxOverNames'))
    with pytest.raises(ValueError, match=r'no post_processor with name_scores.*but got PAMR'):
        build(dict(post_processor=dict(type='PAMR'), **keys))
    with pytest.raises(ValueError, match='no knowledge_preserving with name_scores'):
        build(dict(knowledge_preserving=dict(weight=0.3), **keys))
