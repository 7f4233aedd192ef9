"""Whole segmentors are filled from checkpoints of every kind, by init_cfg and by hand."""

import copy
import hashlib
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.runner import load_checkpoint
from released_files import code_release, tcl_release
from tiny_model import SIZES, code_config, images, openai_state, tiny_clip, tiny_code
from torch import nn

from code_mm.models.backbones.clip import load_clip_weights
from code_mm.registry import MODELS
from code_mm.vocabulary import get_templates
from code_mm.weights import LoadReport, weights_sha256
from code_mm.weights.model_weights import load_model_weights, pretrained_files

NAMES = ['red star', 'boat']
SCALE = 'co_decomposition.similarity_to_mask.scale'
# TCL: what CoDe adds is switched off by keys
TCL = dict(noun_prompt=None, text_segmenter=None, region_prompt=None, word_prompt=None, losses={})


@pytest.fixture(scope='module')
def model():
    return tiny_code(seed=4).eval()


@pytest.fixture
def logged(monkeypatch):
    found = []
    monkeypatch.setattr(
        'code_mm.weights.model_weights.print_log', lambda text, **_: found.append(text)
    )
    return found


def build(**keys):
    return MODELS.build(code_config(**keys)).eval()


def pretrained(path):
    return dict(type='Pretrained', checkpoint=str(path))


def assert_same(found, expected):
    expected = expected.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in found.state_dict().items())


def own_checkpoint(model):
    return dict(state_dict=model.state_dict(), meta=dict(iter=3))


def wrapped(prefix, *keys, of=lambda model: model.state_dict()):
    """As a user writes it: names behind a prefix, below keys of his own."""

    def content(model):
        state = {prefix + name: value for name, value in of(model).items()}
        for key in keys:
            state = {key: state, 'epoch': 3}
        return state

    return content


def compiled_part(model):
    return {n.replace('backbone.', 'backbone._orig_mod.'): v for n, v in model.state_dict().items()}


CONTENTS = [
    *(code_release, own_checkpoint, wrapped(''), compiled_part),
    *(wrapped(prefix, 'model') for prefix in ('', 'module.', '_orig_mod.', 'module._orig_mod.')),
    *(wrapped('_orig_mod.module.', key) for key in ('state_dict', 'model_state_dict')),
    wrapped('module._orig_mod.', 'model', of=lambda model: code_release(model)['model']),
]


@pytest.mark.parametrize('content', CONTENTS)
def test_init_cfg_takes_a_checkpoint_that_has_the_clip_inside(model, tmp_path, logged, content):
    torch.save(content(model), tmp_path / 'x.pth')
    # the CLIP's own file is not needed, and need not be there
    backbone = dict(type='CLIP', **SIZES, init_cfg=pretrained(tmp_path / 'nowhere.pt'))
    found = build(backbone=backbone, init_cfg=pretrained(tmp_path / 'x.pth'))
    init_cfg = found.init_cfg
    found.init_weights()
    assert_same(found, model)
    assert found.init_cfg is init_cfg and init_cfg['checkpoint'] == str(tmp_path / 'x.pth')
    total = len(model.state_dict())
    assert [text.partition('-> ')[2] for text in logged] == [
        f'CoDeSegmentor: loaded {total}, missing 0, unexpected 0, of another size 0'
    ]


@pytest.mark.parametrize('wrapper', ['', 'clip_model.', 'text_encoder.'])
@torch.no_grad()
def test_a_tcl_release_predicts_from_templates(model, tmp_path, logged, wrapper):
    torch.save(tcl_release(model, wrapper), tmp_path / 'tcl.pth')
    keys = dict(raw_template_mean=True, init_cfg=pretrained(tmp_path / 'tcl.pth'))
    found = build(parts=TCL, **keys)
    found.init_weights()
    assert 'tcl.pth (TCL release) -> CoDeSegmentor' in logged[0]
    assert 'missing 1 (backbone.logit_scale), unexpected 2 (co_decomposition.losses' in logged[0]
    expected = model.state_dict()
    for name, value in found.state_dict().items():
        assert name == 'backbone.logit_scale' or torch.equal(value, expected[name]), name
    # independent: mean over the templates as they are embedded, and the segmenter's features
    rows = []
    for name in NAMES:
        sentences = [t.format(name) for t in get_templates('custom')]
        embed = model.backbone.encode_text(model.backbone.tokenize(sentences))
        rows.append(embed.mean(0) / embed.mean(0).norm())
    image = images(1, 32, 32)
    features = model.image_segmenter(model.backbone.trunk(image))
    to_mask = model.similarity_to_mask
    logits = to_mask.scale * torch.einsum('bchw,nc->bnhw', features, torch.stack(rows))
    masks = torch.sigmoid(logits + to_mask.bias)
    masks = torch.nn.functional.interpolate(masks, size=(32, 32), mode='bilinear')
    found.set_class_names(NAMES)
    torch.testing.assert_close(found.encode_decode(image, [{}]), masks, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match='expected a noun_prompt'):
        found.loss(image, [])


@pytest.fixture
def exported(model, tmp_path, monkeypatch):
    """A CLIP in OpenAI's names, and the trained parts beside it."""
    torch.save(openai_state(model.backbone), tmp_path / 'clip.pt')
    torch.save(own_checkpoint(model), tmp_path / 'iter_3.pth')
    tool = Path(__file__).parents[2] / 'tools/model_converters/export_trained.py'
    paths = tmp_path / 'iter_3.pth', tmp_path / 'parts.safetensors'
    monkeypatch.setattr(sys, 'argv', [str(tool), *map(str, paths)])
    runpy.run_path(str(tool), run_name='__main__')
    return tmp_path / 'clip.pt', tmp_path / 'parts.safetensors'


def test_trained_parts_are_small_and_give_the_model_on_top_of_its_clip(model, exported, logged):
    clip, parts = exported
    sizes = {name: value.numel() for name, value in model.state_dict().items()}
    trained = sum(size for name, size in sizes.items() if not name.startswith('backbone.'))
    assert parts.stat().st_size < 4 * trained + 20_000
    backbone = dict(type='CLIP', **SIZES, init_cfg=pretrained(clip))
    by_init_cfg = build(backbone=backbone, init_cfg=pretrained(parts))
    by_init_cfg.init_weights()
    assert_same(by_init_cfg, model)
    by_hand = build(backbone=backbone)
    load_model_weights(by_hand, parts)
    assert_same(by_hand, model)
    assert any('parts.safetensors (trained parts) -> CoDeSegmentor: loaded' in t for t in logged)


def test_parts_on_another_clip_or_on_none_are_refused(exported, tmp_path):
    _, parts = exported
    with pytest.raises(ValueError, match=r'trained parts only: .*set model\.backbone\.init_cfg'):
        load_model_weights(build(), parts)
    torch.save(openai_state(tiny_code(seed=5).backbone), tmp_path / 'other.pt')
    found = build(backbone=dict(type='CLIP', **SIZES, init_cfg=pretrained(tmp_path / 'other.pt')))
    with pytest.raises(ValueError, match=r'expected the CLIP that .* was trained on'):
        load_model_weights(found, parts)


def test_a_checkpoint_of_another_model_is_refused(model, tmp_path):
    smaller = tiny_code(parts=dict(text_segmenter=None, word_prompt=None, losses={}))
    torch.save(own_checkpoint(smaller), tmp_path / 'x.pth')
    with pytest.raises(ValueError, match=r'lacks \d+ of its \d+ parameters'):
        load_model_weights(build(), tmp_path / 'x.pth')
    release = code_release(model)
    release['model']['masker.sim2mask.w'] = torch.ones(3)
    torch.save(release, tmp_path / 'x.pth')
    match = r'1 of another size \[.\w+.similarity_to_mask.scale \(3,\) for \(\)'
    with pytest.raises(ValueError, match=match):
        load_model_weights(build(), tmp_path / 'x.pth')


UNUSABLE = {
    'NaN or infinite': torch.tensor(torch.nan),
    'beyond torch.float32': torch.tensor(1e39, dtype=torch.float64),
    'torch.int64 for torch.float32': torch.tensor(3),
    'torch.bool for torch.float32': torch.tensor(True),
    'torch.complex64 for torch.float32': torch.tensor(1j),
}


@pytest.mark.parametrize('why', UNUSABLE)
def test_values_that_are_no_weights_are_refused_by_name(model, tmp_path, why):
    name = SCALE
    torch.save({**model.state_dict(), name: UNUSABLE[why]}, tmp_path / 'x.pth')
    match = rf'expected finite floating-point weights, .* 1 are not: {name} \({why}\)'
    with pytest.raises(ValueError, match=match):
        load_model_weights(build(), tmp_path / 'x.pth')
    clip = model.backbone
    value = UNUSABLE[why].expand(clip.visual.proj.shape).clone()
    torch.save({**openai_state(clip), 'visual.proj': value}, tmp_path / 'clip.pth')
    with pytest.raises(ValueError, match=rf'1 are not: visual\.proj \({why}\)'):
        load_clip_weights(tiny_clip(), tmp_path / 'clip.pth')


def test_a_report_names_what_was_loaded_missing_and_unexpected():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    others = {f'text.{i}': torch.ones(1) for i in range(4)}
    state = {**model.state_dict(), '1.weight': torch.ones(4), **others}
    del state['0.bias']
    report = LoadReport.compare(model, state, 'x.pth', 'OpenAI layout')
    assert report.wrong == {'1.weight': ((3,), (4,))}
    assert '0.weight' in report.loaded and '1.running_mean' in report.loaded
    assert str(report) == (
        'x.pth (OpenAI layout) -> Sequential: loaded 5, missing 1 (0.bias), '
        'unexpected 4 (text.0, text.1, text.2, ...), of another size 1 (1.weight)'
    )


def test_files_that_a_config_names():
    listed = [dict(init_cfg=dict(type='Normal')), dict(init_cfg=[pretrained('c')])]
    backbone = dict(init_cfg=pretrained('b.pt'))
    config = dict(init_cfg=None, pretrained='zoo://a', backbone=backbone, heads=listed)
    assert list(pretrained_files(config)) == ['zoo://a', 'b.pt', 'c']
    assert not list(pretrained_files(None))


@pytest.fixture
def unfilled(tmp_path):
    """As mmseg's ``init_model`` leaves it: built from the config, nothing loaded."""
    torch.save(openai_state(tiny_clip(seed=3)), tmp_path / 'clip.pth')
    found = tiny_code().eval()
    found.backbone.init_cfg = pretrained(tmp_path / 'clip.pth')
    found.set_class_names(NAMES)
    return found


def test_random_weights_do_not_pass_for_those_that_the_config_names(unfilled):
    match = r'random ones; call model.init_weights.*clip\.pth'
    with pytest.raises(RuntimeError, match=match):
        unfilled.predict(images(1, 32, 32))
    others = {k: v for k, v in unfilled.state_dict().items() if not k.startswith('backbone.')}
    unfilled.load_state_dict(others, strict=False)
    with pytest.raises(RuntimeError, match=match):
        unfilled.predict(images(1, 32, 32))
    unfilled.init_weights()
    assert unfilled.predict(images(1, 32, 32))[0].pred_sem_seg.data.shape == (1, 32, 32)


@pytest.mark.parametrize('part', ['model', 'backbone'])
def test_a_checkpoint_fills_the_backbone(unfilled, tmp_path, part):
    part = unfilled if part == 'model' else unfilled.backbone
    torch.save(dict(state_dict=part.state_dict()), tmp_path / 'checkpoint.pth')
    load_checkpoint(part, str(tmp_path / 'checkpoint.pth'), 'cpu')
    assert len(copy.deepcopy(unfilled).predict(images(1, 32, 32))) == 1


class Sums(nn.Module):
    def __init__(self):
        super().__init__()
        self.b = nn.Parameter(torch.tensor([[1.0, 2.0]]))
        self.register_buffer('a', torch.tensor(3))
        self.register_buffer('unsaved', torch.rand(2), persistent=False)


def test_a_checksum_is_that_of_names_types_shapes_and_bytes():
    text = b'a torch.int64 ()\n' + (3).to_bytes(8, 'little')
    text += b'b torch.float32 (1, 2)\n' + bytes.fromhex('0000803f00000040')
    model, expected = Sums(), hashlib.sha256(text).hexdigest()
    assert weights_sha256(model) == expected
    model.b.data = torch.tensor([[1.0], [2.0]]).T  # not contiguous
    assert weights_sha256(model) == expected
    model.b.data = torch.empty(0, 2)
    assert weights_sha256(model) != expected
