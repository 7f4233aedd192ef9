"""Golden cases 12 and 13: zero-shot prediction, whole and in windows, by every way of a user."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.structures import SegDataSample
from PIL import Image
from released_model import build_released_model, model_config
from tiny_configs import CONFIGS, load

from code_mm.apis import CoDeInferencer
from code_mm.vocabulary import get_templates

PREPROCESSOR = load('code_cc12m.py').model.data_preprocessor
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]


def head_keys(golden, pamr, weight):
    templates = golden.case('12_inference')['strings']['kp_templates']
    return dict(
        knowledge_preserving=dict(weight=weight, templates=templates),
        post_processor=dict(type='PAMR') if pamr else None,
    )


def release_config(golden, pamr, weight, test_cfg):
    model = model_config(golden.index, golden.release, **head_keys(golden, pamr, weight))
    model.update(test_cfg=test_cfg, data_preprocessor={**PREPROCESSOR, 'size': None})
    return model


def photo_of(image):
    """The BGR array, in 0 .. 255 and floating, that is normalised to an image [1, 3, H, W]."""
    rgb = image[0].double().permute(1, 2, 0).numpy()
    rgb = rgb * np.float64(PREPROCESSOR.std) + np.float64(PREPROCESSOR.mean)
    return np.ascontiguousarray(rgb[..., ::-1])


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
    model = release_config(golden, pamr, weight, test_cfg or dict(mode='whole'))
    cfg = Config(dict(model=model, test_pipeline=PIPELINE))
    inferencer = CoDeInferencer(cfg, golden.release, device='cpu', show_progress=False)

    def predict(image, classes, threshold):
        keys = dict(classes=classes, background_threshold=threshold, return_scores=True)
        result = inferencer(photo_of(image), **keys)
        return torch.from_numpy(result['predictions'])[None], torch.from_numpy(result['scores'])

    return predict


def assert_case(golden, entry, found, label, reference, threshold):
    """Scores without the background's plane, where they were kept, and label maps."""
    labels, scores = found
    kind = 'mask' if 'mask' in entry['tolerance'] else 'scores'
    if scores is not None:
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


class Windows:
    """Golden case 13: what is segmented, in which windows, and whether as it should be."""

    def __init__(self, golden, with_bg):
        inference, self.entry = golden.case('12_inference'), golden.case('13_slide')
        self.golden, self.bg = golden, f'bg{int(with_bg)}'
        self.expected, arguments = golden.tensors(self.entry), self.entry['arguments']
        self.classes = inference['strings']['classes']
        self.threshold = arguments['bg_thresh'] if with_bg else None
        self.of_head = arguments['pamr'], arguments['kp_w']
        crop, stride = tuple(arguments['crop']), tuple(arguments['stride'])
        self.test_cfg = dict(mode='slide', crop_size=crop, stride=stride)
        shape = self.entry['details'][f'same.{self.bg}']['ori_shape']
        images = [v for k, v in golden.tensors(inference).items() if k.endswith('.image')]
        same = next(image for image in images if list(image.shape[2:]) == shape)
        self.images = dict(same=same, thin=self.expected['thin_image'])

    def check(self, name, found, kind='average'):
        reference = self.expected[f'{name}.{kind}_scores'][0][-len(self.classes) :]
        label = self.expected[f'{name}.{self.bg}.label']
        assert_case(self.golden, self.entry, found, label, reference, self.threshold)


@pytest.mark.parametrize('with_bg', [True, False])
@pytest.mark.parametrize('way', [by_segmentor, by_inferencer])
def test_sliding_windows(golden, way, with_bg):
    windows = Windows(golden, with_bg)
    predict = way(golden, *windows.of_head, **windows.test_cfg)
    for name, image in windows.images.items():
        windows.check(name, predict(image, windows.classes, windows.threshold))
    if way is by_segmentor:  # an image is given at its own size to the other
        shape = tuple(windows.entry['details'][f'rescaled.{windows.bg}']['ori_shape'])
        found = predict(windows.images['same'], windows.classes, windows.threshold, shape)
        windows.check('rescaled', found, 'rescaled')


def test_label_maps_of_tools_test_from_a_converted_checkpoint(golden, tmp_path):
    """As a user runs them; images are float tiff files that the pipeline normalises back."""
    tifffile, windows = pytest.importorskip('tifffile'), Windows(golden, with_bg=True)
    for kind in ('images', 'labels'):
        (tmp_path / kind).mkdir()
    for name, image in windows.images.items():
        photo = photo_of(image).astype(np.float32)
        tifffile.imwrite(tmp_path / 'images' / f'{name}.tiff', photo, photometric='rgb')
        blank = np.zeros(photo.shape[:2], np.uint8)  # the metric needs labels of some kind
        Image.fromarray(blank).save(tmp_path / 'labels' / f'{name}.png')
    cfg = load('eval/code_vit-b16_ade20k.py')
    cfg.model = release_config(golden, *windows.of_head, windows.test_cfg)
    cfg.model.background_threshold = windows.threshold
    dataset = dict(
        type='BaseSegDataset',
        data_root=str(tmp_path),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        img_suffix='.tiff',
        metainfo=dict(classes=['background', *windows.classes]),
        pipeline=[
            dict(type='LoadImageFromFile', imdecode_backend='tifffile'),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs'),
        ],
    )
    cfg.test_dataloader.update(dataset=dataset, num_workers=0, persistent_workers=False)
    cfg.dump(tmp_path / 'config.py')
    options = '--out', tmp_path / 'out', '--work-dir', tmp_path / 'work'
    for tool in (
        ['model_converters/release.py', golden.release, tmp_path / 'converted.pth'],
        ['test.py', tmp_path / 'config.py', tmp_path / 'converted.pth', *options],
    ):
        command = [sys.executable, CONFIGS.parent / 'tools' / tool[0], *tool[1:]]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
    for name in windows.images:
        labels = np.array(Image.open(tmp_path / 'out' / f'{name}.png'))
        windows.check(name, (torch.from_numpy(labels), None))
    (log,) = (tmp_path / 'work').glob('*/*.json')
    assert 'mIoU' in json.loads(log.read_text())
