"""Golden cases 12 and 13: zero-shot prediction, whole and in windows."""

import itertools

import pytest
import torch
from mmseg.structures import SegDataSample
from released_model import build_released_model

from code_mm.vocabulary import get_templates

BACKGROUND = 'background'


def _model(golden, classes, templates, pamr, weight, background=None, **test_cfg):
    model = build_released_model(
        golden.index,
        golden.path(golden.case('reference_checkpoint')['file']),
        background_threshold=background,
        knowledge_preserving=dict(weight=weight, templates=templates),
        post_processor=dict(type='PAMR') if pamr else None,
    ).eval()
    model.test_cfg.update(test_cfg)
    model.set_class_names(([BACKGROUND] if background else []) + classes)
    return model


def _labels(model, image, ori_shape=None):
    sample = SegDataSample(
        metainfo=dict(ori_shape=ori_shape or tuple(image.shape[2:]), img_shape=image.shape[2:])
    )
    (result,) = model.predict(image, [sample])
    return result.pred_sem_seg.data, result.seg_logits.data[None]


def _with_background(scores, threshold):
    return torch.cat([torch.full_like(scores[:, :1], threshold), scores], dim=1)


@torch.no_grad()
def test_class_embeddings(golden):
    entry = golden.case('12_inference')
    expected, strings = golden.tensors(entry), entry['strings']
    model = _model(golden, strings['classes'], strings['kp_templates'], False, 0.3)
    entry_tolerance = golden.case('08_clip')
    vocabulary = model.vocabulary
    golden.assert_close(vocabulary.embeddings, expected['text_emb'], entry_tolerance)
    golden.assert_close(vocabulary.template_embeddings, expected['kp_text_emb'], entry_tolerance)


def test_custom_templates_are_the_releases(golden):
    strings = golden.case('12_inference')['strings']
    assert list(get_templates('custom')) == strings['kp_templates']


@torch.no_grad()
def test_masks_and_labels(golden):
    entry = golden.case('12_inference')
    expected, strings, arguments = golden.tensors(entry), entry['strings'], entry['arguments']
    sizes = [name.removesuffix('.image') for name in expected if name.endswith('.image')]
    assert sizes
    for pamr, weight, with_bg in itertools.product(
        arguments['pamr'], arguments['kp_w'], arguments['with_bg']
    ):
        threshold = arguments['bg_thresh'] if with_bg else None
        model = _model(golden, strings['classes'], strings['kp_templates'], pamr, weight, threshold)
        for size in sizes:
            image = expected[f'{size}.image']
            case = f'{size}.pamr{int(pamr)}_kp{weight}'
            labels, scores = _labels(model, image)
            reference = expected[f'{case}.mask']
            foreground = scores[:, 1:] if with_bg else scores
            golden.assert_close(foreground, reference, entry, 'mask', case)
            if with_bg:
                reference = _with_background(reference, threshold)
            label = expected[f'{case}.label_bg{int(with_bg)}']
            golden.assert_labels(labels, label, reference[0], entry)


@torch.no_grad()
@pytest.mark.parametrize('with_bg', [True, False])
def test_slide_inference(golden, with_bg):
    entry = golden.case('13_slide')
    expected, arguments = golden.tensors(entry), entry['arguments']
    inference = golden.case('12_inference')
    threshold = arguments['bg_thresh'] if with_bg else None
    model = _model(
        golden,
        inference['strings']['classes'],
        inference['strings']['kp_templates'],
        arguments['pamr'],
        arguments['kp_w'],
        threshold,
        mode='slide',
        crop_size=arguments['crop'],
        stride=arguments['stride'],
    )
    images = golden.tensors(inference)
    second = [name for name in images if name.endswith('.image')]
    shapes = {name: entry['details'][f'{name}.bg1']['ori_shape'] for name in ('same', 'thin')}
    same = next(images[n] for n in second if list(images[n].shape[2:]) == shapes['same'])
    cases = dict(
        same=(same, 'same.average_scores'),
        rescaled=(same, 'rescaled.rescaled_scores'),
        thin=(expected['thin_image'], 'thin.average_scores'),
    )
    for name, (image, reference_name) in cases.items():
        ori_shape = tuple(entry['details'][f'{name}.bg{int(with_bg)}']['ori_shape'])
        labels, scores = _labels(model, image, ori_shape)
        reference = expected[reference_name]
        foreground = scores[:, 1:] if with_bg else scores
        if reference.shape == foreground.shape:
            golden.assert_close(foreground, reference, entry, 'scores', name)
        else:
            golden.assert_close(scores, reference, entry, 'scores', name)
        if with_bg and reference.shape == foreground.shape:
            reference = _with_background(reference, threshold)
        golden.assert_labels(
            labels, expected[f'{name}.bg{int(with_bg)}.label'], reference[0], entry
        )
