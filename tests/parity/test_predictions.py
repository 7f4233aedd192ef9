"""Golden cases 12 and 13: zero-shot prediction, whole and in windows, by either way in Python."""

import itertools

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.structures import SegDataSample
from released_model import build_released_model, model_config

from code_mm.apis import CoDeInferencer
from code_mm.vocabulary import get_templates

MEAN, STD = np.float64([123.675, 116.28, 103.53]), np.float64([58.395, 57.12, 57.375])
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]


def head_keys(golden, pamr, weight):
    templates = golden.case('12_inference')['strings']['kp_templates']
    return dict(
        knowledge_preserving=dict(weight=weight, templates=templates),
        post_processor=dict(type='PAMR') if pamr else None,
    )


def by_segmentor(golden, pamr, weight, **test_cfg):
    """A tensor in, the segmentor's labels and scores out."""
    model = build_released_model(golden.index, golden.release, **head_keys(golden, pamr, weight))
    model.eval().test_cfg.update(test_cfg)

    @torch.no_grad()
    def predict(image, classes, threshold, ori_shape=None):
        model.set_background_threshold(threshold)
        model.set_class_names((['background'] if threshold else []) + classes)
        size = tuple(image.shape[2:])
        sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=ori_shape or size))
        (result,) = model.predict(image, [sample])
        return result.pred_sem_seg.data, result.seg_logits.data

    return predict


def by_inferencer(golden, pamr, weight, **test_cfg):
    """A config, the release's own checkpoint and a photo in."""
    prompt = torch.load(golden.release, weights_only=True)['model']['learnable_image_bg']
    model = model_config(golden.index, prompt.shape[-1], **head_keys(golden, pamr, weight))
    model['test_cfg'].update(test_cfg)
    model['data_preprocessor'] = dict(
        type='SegDataPreProcessor', mean=MEAN.tolist(), std=STD.tolist(), bgr_to_rgb=True
    )
    cfg = Config(dict(model=model, test_pipeline=PIPELINE))
    inferencer = CoDeInferencer(cfg, golden.release, device='cpu', show_progress=False)

    def predict(image, classes, threshold):
        # the BGR array, in 0 .. 255 and floating, that is normalised to this image
        rgb = image[0].double().permute(1, 2, 0).numpy() * STD + MEAN
        photo, keys = np.ascontiguousarray(rgb[..., ::-1]), dict(return_scores=True)
        result = inferencer(photo, classes=classes, background_threshold=threshold, **keys)
        return torch.from_numpy(result['predictions'])[None], torch.from_numpy(result['scores'])

    return predict


def assert_case(golden, entry, found, label, reference, threshold):
    """Scores without the background's plane, and label maps."""
    labels, scores = found
    kind = 'mask' if 'mask' in entry['tolerance'] else 'scores'
    golden.assert_close(scores[1:] if threshold else scores, reference, entry, kind)
    if threshold:
        reference = torch.cat([torch.full_like(reference[:1], threshold), reference])
    golden.assert_labels(labels.reshape(label.shape), label, reference, entry)


@torch.no_grad()
def test_class_embeddings(golden):
    entry = golden.case('12_inference')
    expected, strings = golden.tensors(entry), entry['strings']
    model = build_released_model(golden.index, golden.release, **head_keys(golden, False, 0.3))
    model.eval().set_class_names(strings['classes'])
    vocabulary, tolerance = model.vocabulary, golden.case('08_clip')
    golden.assert_close(vocabulary.embeddings, expected['text_emb'], tolerance)
    golden.assert_close(vocabulary.template_embeddings, expected['kp_text_emb'], tolerance)
    assert list(get_templates('custom')) == strings['kp_templates']


@pytest.mark.parametrize('way', [by_segmentor, by_inferencer])
def test_masks_and_labels(golden, way):
    entry = golden.case('12_inference')
    expected, arguments = golden.tensors(entry), entry['arguments']
    sizes = [name.removesuffix('.image') for name in expected if name.endswith('.image')]
    assert sizes
    for pamr, weight in itertools.product(arguments['pamr'], arguments['kp_w']):
        predict = way(golden, pamr, weight)
        for size, with_bg in itertools.product(sizes, arguments['with_bg']):
            threshold = arguments['bg_thresh'] if with_bg else None
            found = predict(expected[f'{size}.image'], entry['strings']['classes'], threshold)
            case = f'{size}.pamr{int(pamr)}_kp{weight}'
            label, reference = expected[f'{case}.label_bg{int(with_bg)}'], expected[f'{case}.mask']
            assert_case(golden, entry, found, label, reference[0], threshold)


@pytest.mark.parametrize('with_bg', [True, False])
@pytest.mark.parametrize('way', [by_segmentor, by_inferencer])
def test_sliding_windows(golden, way, with_bg):
    entry, inference = golden.case('13_slide'), golden.case('12_inference')
    expected, arguments = golden.tensors(entry), entry['arguments']
    classes = inference['strings']['classes']
    windows = dict(mode='slide', crop_size=arguments['crop'], stride=arguments['stride'])
    predict = way(golden, arguments['pamr'], arguments['kp_w'], **windows)
    shape = entry['details']['same.bg1']['ori_shape']
    images = [v for k, v in golden.tensors(inference).items() if k.endswith('.image')]
    same = next(image for image in images if list(image.shape[2:]) == shape)
    threshold = arguments['bg_thresh'] if with_bg else None
    cases = dict(same=(same, 'average'), thin=(expected['thin_image'], 'average'))
    if way is by_segmentor:  # an image is given at its own size to the other
        cases['rescaled'] = (same, 'rescaled')
    for name, (image, kind) in cases.items():
        ori_shape = tuple(entry['details'][f'{name}.bg{int(with_bg)}']['ori_shape'])
        found = predict(image, classes, threshold, *([ori_shape] if kind == 'rescaled' else []))
        reference = expected[f'{name}.{kind}_scores'][0][-len(classes) :]
        label = expected[f'{name}.bg{int(with_bg)}.label']
        assert_case(golden, entry, found, label, reference, threshold)
