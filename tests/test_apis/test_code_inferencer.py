import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import MMSegInferencer, inference_model, init_model
from mmseg.structures import SegDataSample
from PIL import Image

from code_mm.apis import CoDeInferencer
from code_mm.apis.input_images import InputImage, UnreadableImage
from code_mm.apis.results import read_record

CLASSES = 'cat, grey sofa, car|automobile'
NAMES = ('cat', 'grey sofa', 'car|automobile')


@torch.no_grad()
def by_hand(inferencer, path, names, threshold=None):
    """Scores (classes, H, W) of one image, step by step without the inferencer's own code."""
    model = inferencer.model
    image = cv2.imread(str(path))
    scale = 32 / min(image.shape[:2])
    size = tuple(int(side * scale + 0.5) for side in image.shape[1::-1])
    small = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)[..., ::-1].astype(np.float32)
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    inputs = torch.from_numpy(((small - mean) / std).astype(np.float32)).permute(2, 0, 1)[None]
    model.set_background_threshold(threshold)
    model.set_class_names(names)
    shape = tuple(inputs.shape[2:])
    scores = model.encode_decode(inputs, [dict(img_shape=shape, ori_shape=shape)])
    return torch.nn.functional.interpolate(scores, image.shape[:2], mode='bilinear')[0].numpy()


def test_label_map_scores_and_masks_of_one_image(inferencer, photos):
    path = photos / 'c.png'
    keys = dict(classes=CLASSES, return_scores=True, return_masks=True)
    result = inferencer(path, **keys)
    expected = by_hand(inferencer, path, NAMES)
    np.testing.assert_allclose(result['scores'], expected, atol=1e-5)
    np.testing.assert_array_equal(result['predictions'], expected.argmax(0))
    assert result['classes'] == NAMES and result['failed'] == {}
    assert result['inputs'] == str(path) and result['visualization'] is None
    for name, mask in result['masks'].items():
        np.testing.assert_array_equal(mask, result['predictions'] == NAMES.index(name))
    assert sum(mask.sum() for mask in result['masks'].values()) == 40 * 32
    image = cv2.imread(str(path))
    for scores in inferencer([image, image.astype(np.float32)], **keys)['scores']:
        np.testing.assert_array_equal(scores, result['scores'])


def test_background_with_threshold(inferencer, photos):
    path = photos / 'c.png'
    scores = by_hand(inferencer, path, NAMES)
    threshold = float(np.quantile(scores.max(0), 0.4))
    result = inferencer(path, classes=CLASSES, background_threshold=threshold)
    assert result['classes'] == ('background', *NAMES)
    above = scores.max(0) > threshold
    np.testing.assert_array_equal(result['predictions'], np.where(above, scores.argmax(0) + 1, 0))
    assert 0.5 < above.mean() < 0.7
    one = inferencer(path, classes='cat', background=True)
    assert one['classes'] == ('background', 'cat')
    np.testing.assert_array_equal(one['predictions'], scores[0] > 0.4)


def test_a_folder_in_batches_names_what_could_not_be_read(inferencer, photos, tmp_path):
    one = inferencer(str(photos), classes=CLASSES)
    two = inferencer(str(photos), classes=CLASSES, batch_size=3, out_dir=tmp_path)
    assert [path.rsplit('/')[-1] for path in one['inputs']] == ['a.png', 'b.png', 'c.png', 'd.png']
    assert [path.rsplit('/')[-1] for path in one['failed']] == ['half.jpg', 'text.jpg']
    for first, second, name in zip(one['predictions'], two['predictions'], 'abcd', strict=True):
        # different batches may round differently
        assert (first == second).mean() > 0.999
        saved = np.asarray(Image.open(tmp_path / f'pred/{name}.png'))
        np.testing.assert_array_equal(saved, second)
        assert (tmp_path / f'vis/{name}.png').is_file()


def test_an_image_beyond_the_memory_does_not_end_the_run(inferencer, photos, monkeypatch):
    predict = inferencer.model.encode_decode

    def in_little_memory(windows, metas):
        if len(windows) > 1 or windows.shape[3] > 32:  # b's width is 43 pixels
            torch.empty(1 << 46)  # what torch says of it on this machine
        return predict(windows, metas)

    images = [cv2.imread(str(photos / name)) for name in ('b.png', 'c.png', 'c.png')]
    expected = inferencer(images[1], classes=CLASSES)['predictions']
    monkeypatch.setattr(inferencer.model, 'encode_decode', in_little_memory)
    found = inferencer(images, classes=CLASSES, batch_size=2)
    assert [(labels == expected).mean() > 0.999 for labels in found['predictions']] == [True] * 2
    ((name, reason),) = found['failed'].items()
    assert name == 'array 00000000' and '64 x 48 pixels need more memory than there is' in reason
    with pytest.raises(UnreadableImage, match='array 00000000: 64 x 48 pixels'):
        inferencer(images, classes=CLASSES, on_error='raise')
    monkeypatch.setattr(inferencer.model, 'encode_decode', lambda *_: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match='size'):  # another mistake
        inferencer(images, classes=CLASSES)


def test_results_of_two_calls_in_one_folder(inferencer, photos, tmp_path):
    other = tmp_path / 'a.png'
    other.write_bytes((photos / 'c.png').read_bytes())
    for path in (photos / 'a.png', other):
        inferencer(path, classes=CLASSES, out_dir=tmp_path / 'out')
    sources = [read_record(tmp_path / f'out/vis/{name}.png')['source'] for name in ('a', 'a_png')]
    assert sources == [str(photos / 'a.png'), str(other)]


def test_errors_can_be_raised(inferencer, photos):
    with pytest.raises(UnreadableImage, match=r'half\.jpg: .*end of the JPEG'):
        inferencer(photos, classes=CLASSES, on_error='raise')
    with pytest.raises(UnreadableImage, match='none could be read'):
        inferencer(photos / 'text.jpg', classes=CLASSES)
    wrong = dict(on_error='ignore'), dict(batch_size=0)
    for keys, message in zip(wrong, ("'skip' or 'raise'", 'batch_size >= 1'), strict=True):
        with pytest.raises(ValueError, match=message):
            inferencer(photos, classes=CLASSES, **keys)
    with pytest.raises(ValueError, match='expected class names, but got none'):
        inferencer(photos)


def test_overlays_and_samples(inferencer, photos, monkeypatch):
    shown = []
    monkeypatch.setattr(
        'mmseg.visualization.SegLocalVisualizer.show',
        lambda self, image, win_name, wait_time: shown.append((image, wait_time)),
    )
    keys = dict(classes=CLASSES, return_vis=True, show=True, wait_time=2)
    (overlay,) = inferencer([photos / 'a.png'], **keys)['visualization']
    assert shown == [(pytest.approx(overlay), 2)]
    assert overlay.dtype == np.uint8 and overlay.shape[1] == 480 and overlay.shape[0] > 360
    sample = inferencer(photos / 'a.png', classes=CLASSES, return_datasamples=True)
    assert isinstance(sample, SegDataSample)
    assert sample.seg_logits.shape == (48, 64) and len(sample.seg_logits.data) == 3
    samples = inferencer([photos / 'a.png'], classes=CLASSES, return_datasamples=True)
    assert [type(one) for one in samples] == [SegDataSample]


def test_class_names_change_without_a_new_model_and_are_embedded_where_they_changed(
    inferencer, photos, monkeypatch
):
    prompt, calls = inferencer.model.noun_prompt, []
    forward = type(prompt).forward

    def counted(self, ids, text):
        calls.append(len(ids))
        return forward(self, ids, text)

    monkeypatch.setattr(type(prompt), 'forward', counted)
    first = inferencer(photos / 'a.png', classes='a red bus, a tall tree', return_scores=True)
    inferencer([photos / 'a.png'] * 3, classes='a red bus, a tall tree')
    inferencer(photos / 'a.png', classes='moon, boat')
    assert calls == [2, 2]
    again = inferencer(photos / 'a.png', classes='a red bus, a tall tree', return_scores=True)
    np.testing.assert_array_equal(first['scores'], again['scores'])


def test_classes_of_the_constructor_hold_until_a_call_names_others(model_files, photos):
    inferencer = CoDeInferencer(
        *model_files, device='cpu', classes=CLASSES, background_threshold=0.3, show_progress=False
    )
    assert inferencer(photos / 'a.png')['classes'] == ('background', *NAMES)
    assert inferencer(photos / 'a.png', classes='a, b')['classes'] == ('background', 'a', 'b')
    assert inferencer(photos / 'a.png', background=False)['classes'] == NAMES
    assert inferencer.query().background_threshold == 0.3
    with pytest.raises(ValueError, match='empty name'):
        CoDeInferencer(*model_files, device='cpu', classes='a,,b')


def test_scores_are_kept_only_where_asked_for(inferencer, photos):
    query = inferencer.query(CLASSES)
    images = [InputImage('a', photos / 'a.png')]
    (without,) = inferencer.segment(images, query)
    (with_scores,) = inferencer.segment(images, query, keep_scores=True)
    assert 'seg_logits' not in without.sample
    np.testing.assert_array_equal(without.labels, with_scores.scores.argmax(0))
    assert inferencer.model.test_cfg.get('keep_scores', True)


def test_mmsegs_own_functions_give_the_same(model_files, inferencer, photos):
    """init_model, inference_model and MMSegInferencer: set the class names on the model."""
    config, weights = map(str, model_files)
    path = str(photos / 'a.png')
    expected = inferencer(path, classes=CLASSES)['predictions']
    model = init_model(config, weights, device='cpu')
    model.set_class_names(NAMES)
    found = inference_model(model, path).pred_sem_seg.data[0]
    np.testing.assert_array_equal(found, expected)
    of_array = inference_model(model, cv2.imread(path)).pred_sem_seg.data[0]
    np.testing.assert_array_equal(of_array, expected)
    cfg = Config.fromfile(config)
    steps = [step for step in cfg.test_pipeline if step['type'] != 'LoadAnnotations']
    cfg.test_dataloader = dict(dataset=dict(pipeline=steps))
    cfg.visualizer = dict(type='SegLocalVisualizer')
    theirs = MMSegInferencer(cfg, weights, device='cpu')
    theirs.show_progress = False
    theirs.model.set_class_names(NAMES)
    np.testing.assert_array_equal(theirs(path)['predictions'], expected)
