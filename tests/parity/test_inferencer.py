"""Golden cases 12 and 13 through CoDeInferencer: a config and the release's own checkpoint."""

import itertools

import numpy as np
import pytest
import torch
from mmengine.config import Config
from released_model import model_config

from code_mm.apis import CoDeInferencer

MEAN, STD = np.float64([123.675, 116.28, 103.53]), np.float64([58.395, 57.12, 57.375])
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]


@pytest.fixture(scope='module')
def checkpoint(golden):
    return golden.path(golden.case('reference_checkpoint')['file'])


def inferencer_of(golden, checkpoint, pamr, weight, **test_cfg):
    state = torch.load(checkpoint, weights_only=True)['model']
    templates = golden.case('12_inference')['strings']['kp_templates']
    model = model_config(
        golden.index,
        state['learnable_image_bg'].shape[-1],
        knowledge_preserving=dict(weight=weight, templates=templates),
        post_processor=dict(type='PAMR') if pamr else None,
    )
    model['test_cfg'].update(test_cfg)
    model['data_preprocessor'] = dict(
        type='SegDataPreProcessor', mean=MEAN.tolist(), std=STD.tolist(), bgr_to_rgb=True
    )
    cfg = Config(dict(model=model, test_pipeline=PIPELINE))
    return CoDeInferencer(cfg, checkpoint, device='cpu', show_progress=False)


def as_photo(normalised):
    """The BGR array, in 0 .. 255 and floating, that is normalised to these values."""
    rgb = normalised[0].double().permute(1, 2, 0).numpy() * STD + MEAN
    return np.ascontiguousarray(rgb[..., ::-1])


def assert_case(golden, entry, result, label, reference, background):
    """Scores without the background's plane, and label maps."""
    scores, labels = (torch.from_numpy(result[key]) for key in ('scores', 'predictions'))
    kind = 'mask' if 'mask' in entry['tolerance'] else 'scores'
    golden.assert_close(scores[1:] if background else scores, reference[0], entry, kind)
    if background:
        reference = torch.cat([torch.full_like(reference[:, :1], background), reference], dim=1)
    golden.assert_labels(labels, label.reshape(labels.shape), reference[0], entry)


def test_masks_and_labels(golden, checkpoint):
    entry = golden.case('12_inference')
    expected, arguments = golden.tensors(entry), entry['arguments']
    sizes = [name.removesuffix('.image') for name in expected if name.endswith('.image')]
    assert sizes
    for pamr, weight in itertools.product(arguments['pamr'], arguments['kp_w']):
        inferencer = inferencer_of(golden, checkpoint, pamr, weight)
        for size, with_background in itertools.product(sizes, arguments['with_bg']):
            threshold = arguments['bg_thresh'] if with_background else None
            result = inferencer(
                as_photo(expected[f'{size}.image']),
                classes=entry['strings']['classes'],
                background_threshold=threshold,
                return_scores=True,
            )
            case = f'{size}.pamr{int(pamr)}_kp{weight}'
            label = expected[f'{case}.label_bg{int(with_background)}']
            assert_case(golden, entry, result, label, expected[f'{case}.mask'], threshold)


@pytest.mark.parametrize('with_background', [True, False])
def test_sliding_windows(golden, checkpoint, with_background):
    entry, inference = golden.case('13_slide'), golden.case('12_inference')
    expected, arguments = golden.tensors(entry), entry['arguments']
    inferencer = inferencer_of(
        golden,
        checkpoint,
        arguments['pamr'],
        arguments['kp_w'],
        mode='slide',
        crop_size=arguments['crop'],
        stride=arguments['stride'],
    )
    shape = entry['details']['same.bg1']['ori_shape']
    images = [v for k, v in golden.tensors(inference).items() if k.endswith('.image')]
    same = next(image for image in images if list(image.shape[2:]) == shape)
    threshold = arguments['bg_thresh'] if with_background else None
    for name, image in (('same', same), ('thin', expected['thin_image'])):
        result = inferencer(
            as_photo(image),
            classes=inference['strings']['classes'],
            background_threshold=threshold,
            return_scores=True,
        )
        label = expected[f'{name}.bg{int(with_background)}.label']
        reference = expected[f'{name}.average_scores']
        if len(reference[0]) > len(inference['strings']['classes']):
            reference = reference[:, 1:]
        assert_case(golden, entry, result, label, reference, threshold)
