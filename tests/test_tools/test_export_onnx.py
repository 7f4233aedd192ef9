"""tools/export_onnx.py beside the model itself, and the example without torch."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from tiny_model import SIZES as CLIP_SIZES
from tiny_model import code_config, tiny_code

import projects.dense_clip  # noqa: F401
from code_mm.apis import CoDeInferencer
from code_mm.registry import MODELS

onnxruntime = pytest.importorskip('onnxruntime', reason='needs pip install code_mm[onnx]')
pytest.importorskip('onnxscript', reason='needs pip install code_mm[onnx]')
import onnx_parts  # noqa: E402

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
CLASSES = ('cat|kitten', 'grey sofa', 'car')
SIZES = ((1, 32, 32), (3, 45, 64), (1, 9, 70))  # the trained grid, half patches, one row of patches
PAMR = dict(type='PAMR', num_iter=2, dilations=(1, 3))
# small: every operator costs the exporter a part of a second
SMALL = dict(
    backbone=dict(type='CLIP', **{**CLIP_SIZES, 'vision_layers': 2, 'text_layers': 1}),
    image_segmenter=dict(type='ImageSegmenter', num_upsamplings=1),
)
PREPARE = dict(
    type='SegDataPreProcessor', mean=[120.0, 110, 100], std=[60.0, 70, 80], bgr_to_rgb=True
)


def config(**keys):
    head = dict(type='ZeroShotHead', knowledge_preserving=dict(weight=0.3), post_processor=PAMR)
    keys = dict(decode_head=head, data_preprocessor=PREPARE, background_threshold=0.2, **keys)
    return Config(
        dict(
            default_scope='mmseg',
            model=code_config(**SMALL, **keys),
            test_pipeline=[dict(type='LoadImageFromFile'), dict(type='PackSegInputs')],
        )
    )


def photos(b, height, width):
    return np.random.default_rng(height).integers(0, 256, (b, height, width, 3), np.uint8)


def scores_of(model, images):
    """What the model says itself of RGB photos: [b, classes, H, W]."""
    bgr = [torch.from_numpy(image[..., ::-1].transpose(2, 0, 1).copy()) for image in images]
    with torch.no_grad():
        samples = model.predict(model.data_preprocessor(dict(inputs=bgr))['inputs'])
    return torch.stack([sample.seg_logits.data for sample in samples]).numpy()


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A tiny CoDe in whole images, and one in windows."""
    folder = tmp_path_factory.mktemp('place')
    slide = dict(mode='slide', crop_size=(32, 40), stride=(24, 24))
    config().dump(folder / 'tiny.py')
    config(test_cfg=slide).dump(folder / 'slide.py')
    torch.save({'state_dict': tiny_code(**SMALL).state_dict()}, folder / 'tiny.pth')
    Image.fromarray(photos(1, 45, 70)[0]).save(folder / 'photo.png')
    return folder


@pytest.fixture(scope='module')
def exported(place):
    """Files of the tool, run once; and the model that they are of."""
    out = place / 'exported'
    command = [sys.executable, TOOLS / 'export_onnx.py', place / 'slide.py', place / 'tiny.pth']
    subprocess.run([*command, '--out', out, '--classes', ', '.join(CLASSES)], check=True)
    model = CoDeInferencer(place / 'tiny.py', place / 'tiny.pth', 'cpu').model
    return out, model


def test_one_file_segments_any_sizes_into_any_number_of_classes(exported):
    out, model = exported
    session = onnxruntime.InferenceSession(out / 'image.onnx')
    inputs = {'image', 'embeddings', 'synonyms', 'template_embeddings'}
    assert {i.name for i in session.get_inputs()} == inputs
    for size, names in zip(SIZES, (['a|b', 'c'], 'ab', 'abcdefg'), strict=True):
        model.set_class_names(['background', *names])
        inputs = dict(
            image=photos(*size),
            embeddings=model.vocabulary.embeddings.numpy(),
            synonyms=onnx_parts.numbered(model.vocabulary.synonyms),
            template_embeddings=model.vocabulary.template_embeddings.numpy(),
        )
        (scores,) = session.run(None, inputs)
        np.testing.assert_allclose(scores, scores_of(model, inputs['image']), rtol=0, atol=1e-4)


@pytest.mark.parametrize('name', ['text', 'text_templates'])
def test_class_names_are_embedded(exported, name):
    out, model = exported
    session = onnxruntime.InferenceSession(out / f'{name}.onnx')
    told = session.get_modelmeta().custom_metadata_map
    for names in (['cat'], ['a small cat', 'grey sofa', 'x']):
        model.set_class_names(['background', *names])
        found, clip = model.vocabulary, model.backbone
        if name == 'text':
            assert json.loads(told['contexts']) == model.noun_prompt.num_contexts
            ids, expected = clip.tokenize(names, 9), found.embeddings
        else:
            sentences = [[t.replace('{}', n) for t in json.loads(told['templates'])] for n in names]
            ids = torch.stack([clip.tokenize(row) for row in sentences])
            expected = found.template_embeddings
        (embeddings,) = session.run(None, dict(ids=ids.numpy()))
        np.testing.assert_allclose(embeddings, expected.numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize('mode', ['whole', 'slide'])
def test_the_example_needs_no_torch(place, exported, mode):
    out, _ = exported
    forbid = 'import sys; sys.modules.update(dict.fromkeys(("torch", "mmengine", "mmcv", "mmseg",'
    forbid += ' "code_mm", "cv2"))); import runpy; sys.argv = sys.argv[1:]; '
    forbid += 'runpy.run_path(sys.argv[0], run_name="__main__")'
    labels = place / f'{mode}.png'
    if mode == 'whole':
        out = relabelled(out, place / 'whole')
    words = [TOOLS / 'onnx_segment.py', place / 'photo.png', out, '--out', labels]
    said = subprocess.run(
        [sys.executable, '-c', forbid, *words], check=True, capture_output=True, text=True
    ).stdout
    name = 'slide.py' if mode == 'slide' else 'tiny.py'
    model = CoDeInferencer(place / name, place / 'tiny.pth', 'cpu', show_progress=False)
    expected = model(place / 'photo.png', classes=list(CLASSES))['predictions']
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(np.asarray(Image.open(labels)), expected)
    share = (expected == 1).mean()
    assert f'{share:6.1%}  cat|kitten' in said


def relabelled(source, target):
    """The same files, for whole images."""
    onnx = pytest.importorskip('onnx')
    target.mkdir()
    model = onnx.load(source / 'image.onnx')
    for entry in model.metadata_props:
        if entry.key in ('crop_size', 'stride'):
            entry.value = 'null'
    onnx.save(model, target / 'image.onnx')
    (target / 'classes.npz').write_bytes((source / 'classes.npz').read_bytes())
    return target


def test_a_vocabulary_folded_in(run, place, tmp_path):
    words = [place / 'tiny.py', place / 'tiny.pth', '--out', tmp_path, '--parts', 'image']
    said = run(
        'export_onnx', *words, '--classes', ','.join(CLASSES), '--fold', '--labels', '--no-pamr'
    )
    assert 'labels' in said and [p.name for p in tmp_path.iterdir()] == ['image.onnx']
    session = onnxruntime.InferenceSession(tmp_path / 'image.onnx')
    assert [i.name for i in session.get_inputs()] == ['image']
    model = CoDeInferencer(place / 'tiny.py', place / 'tiny.pth', 'cpu').model
    model.decode_head.post_processor = None
    model.set_class_names(['background', *CLASSES])
    for size in SIZES:
        (labels,) = session.run(None, dict(image=photos(*size)))
        scores = scores_of(model, photos(*size))
        np.testing.assert_array_equal(labels, scores.argmax(1))
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told['names']) == ['background', *CLASSES]


READINGS = [
    dict(type='SelfOnlyAttention'),
    dict(type='CorrelativeSelfAttention'),
    dict(type='SelfSelfAttention'),
    dict(type='NeighbourhoodAttention'),
]


@pytest.mark.parametrize('reading', READINGS, ids=lambda reading: reading['type'])
def test_torch_export_follows_all_readings_of_clip(reading):
    clip = dict(type='CLIP', **{**CLIP_SIZES, 'dense_attention': reading})
    model = MODELS.build(
        dict(
            type='ZeroShotSegmentor',
            backbone=clip,
            decode_head=dict(type='ZeroShotHead', in_channels=32),
            data_preprocessor=PREPARE,
        )
    ).eval()
    part = onnx_parts.ImagePart(model)
    program = onnx_parts.trace(part, *onnx_parts.image_examples(part)).module(check_guards=False)
    model.set_class_names(['a', 'b', 'c'])
    embeddings, synonyms = model.vocabulary.embeddings, torch.arange(3)[:, None]
    for size in SIZES:
        image = photos(*size)
        with torch.no_grad():
            image = torch.from_numpy(image)
            found = program(image=image, embeddings=embeddings, synonyms=synonyms)
        np.testing.assert_allclose(found, scores_of(model, image.numpy()), rtol=0, atol=1e-5)


@pytest.mark.parametrize('with_contexts', [False, True])
def test_torch_export_follows_the_text_side(with_contexts):
    model = tiny_code(**SMALL).eval()
    part = onnx_parts.TextPart(model, model.noun_prompt if with_contexts else None)
    program = onnx_parts.trace(part, *onnx_parts.text_examples(part)).module(check_guards=False)
    ids = part.backbone.tokenize(['a red cat', 'x'], 12)
    ids = ids if with_contexts else ids[:, None]
    torch.testing.assert_close(program(ids=ids), part(ids))


def test_phrases_are_numbered_class_after_class():
    found = onnx_parts.numbered((('a',), ('b', 'c', 'd'), ('e', 'f')))
    assert found.tolist() == [[0, 0, 0], [1, 2, 3], [4, 5, 5]]


def test_what_cannot_be_exported_is_said(run, place, tmp_path):
    words = [place / 'tiny.py', place / 'tiny.pth', '--out', tmp_path]
    assert 'expected --classes beside --fold' in run('export_onnx', *words, '--fold', status=2)
    model = tiny_code(data_preprocessor=dict(**PREPARE, test_cfg=dict(size_divisor=32)))
    with pytest.raises(ValueError, match='without test_cfg'):
        onnx_parts.ImagePart(model)
    model.set_name_scores(dict(type='SoftmaxOverNames'))
    with pytest.raises(ValueError, match=r'without name_scores, .* got SoftmaxOverNames'):
        onnx_parts.ImagePart(model)
