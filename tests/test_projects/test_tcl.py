"""TCL: the image segmenter learns from captions, by configs and registered parts alone."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from mmengine.runner import Runner
from safetensors.torch import save_file
from tiny_configs import load, shrink
from tiny_model import SIZES, images, openai_state, tiny_clip

from code_mm.evaluation.protocol import model_protocol
from code_mm.registry import MODELS
from projects.shapes_world import ShapesWorld, write_evaluation, write_shards
from projects.tcl import PlainTextPrompt, RegionBlanking

LENGTH = SIZES['context_length']
LOSSES = {
    *('region_feature', 'region_image', 'feature_variation', 'mask_variation'),
    *('area', 'negative_area'),
}


class Recorder(Hook):
    """Keeps the parameters before training, and the losses of every iteration."""

    def __init__(self):
        self.before, self.losses = {}, []

    def before_train(self, runner):
        self.before = {n: p.detach().clone() for n, p in runner.model.named_parameters()}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({name: value.item() for name, value in outputs.items()})


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('world')
    world = ShapesWorld('hard', 32)
    write_shards(world, folder / 'shards', count=16, per_shard=16)
    write_evaluation(world, folder, count=3)
    captions = [dict(image=f'{i}.jpg', caption='a star on the grass') for i in range(1)]
    (folder / 'captions_validation.jsonl').write_text('\n'.join(map(json.dumps, captions)))
    save_file(openai_state(tiny_clip()), folder / 'clip.safetensors')
    return folder


def config(data, iters=3):
    cfg = shrink(load('projects/tcl/configs/tcl_shapes-hard.py'), data / 'clip.safetensors')
    loader = dict(num_workers=0, persistent_workers=False, batch_size=4)
    keys = {
        'train_cfg.max_iters': iters,
        'train_cfg.val_interval': iters,
        'custom_hooks': cfg.custom_hooks[:2],  # without pictures
    }
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        keys |= {f'{name}.{key}': value for key, value in loader.items()}
        keys[f'{name}.dataset.data_root'] = str(data)
    # captions are as long as the tower takes
    cfg.train_dataloader.dataset.pipeline[-2].noun_context_length = LENGTH
    cfg.merge_from_dict(keys)
    return cfg


@pytest.fixture(scope='module')
def run(data, tmp_path_factory):
    """A training of three iterations: the runner, and what was recorded."""
    cfg = config(data)
    cfg.work_dir = str(tmp_path_factory.mktemp('work'))
    cfg.experiment_name = 'tcl'
    runner, recorder = Runner.from_cfg(cfg), Recorder()
    runner.register_hook(recorder)
    runner.train()
    return runner, recorder


def test_the_image_segmenter_learns_and_clip_does_not(run):
    runner, recorder = run
    assert set(recorder.losses[0]) == {'loss', *(f'loss_{name}' for name in LOSSES)}
    assert all(np.isfinite(list(values.values())).all() for values in recorder.losses)
    after = dict(runner.model.named_parameters())
    moved = {n for n, p in recorder.before.items() if not torch.equal(p, after[n])}
    fixed = recorder.before.keys() - moved
    assert moved >= {
        *('image_segmenter.tail.proj', 'image_segmenter.tail.block.mlp.c_fc.weight'),
        *('image_segmenter.decoder.0.gate', 'co_decomposition.similarity_to_mask.scale'),
        *(
            'co_decomposition.losses.region_image.logit_scale',
            'co_decomposition.losses.region_feature.logit_scale',
        ),
    }
    assert {n for n in after if n.startswith('backbone.')} <= fixed
    assert {n.split('.')[0] for n in after} == {
        *('backbone', 'image_segmenter', 'co_decomposition')
    }
    assert 0 <= runner.message_hub.get_scalar('val/mIoU').current() <= 100


def test_losses_of_a_batch_against_a_plain_computation(run):
    """TCL's losses from the text tower, the segmenter's features and nothing of ours."""
    runner = run[0]
    model = runner.model
    batch = next(iter(runner.train_dataloader))
    batch = model.data_preprocessor(batch, training=True)
    image, samples = batch['inputs'], batch['data_samples']
    noise = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(3))
    model.similarity_to_mask.sample_noise = lambda similarity: noise
    with torch.no_grad():
        values = model.loss(image, samples)

        captions = [sample.caption for sample in samples]
        assert [sample.selected_nouns for sample in samples] == [[c] for c in captions]
        text = F.normalize(
            model.backbone.encode_text(model.backbone.tokenize(captions, LENGTH)), dim=1
        )
        features = model.pixel_embeddings(image)
        to_mask = model.similarity_to_mask
        logits = to_mask.scale * torch.einsum('ichw,tc->ithw', features, text) + to_mask.bias
        soft = logits.sigmoid()
        own = torch.stack([logits[i, i] for i in range(4)])
        logistic = (noise[:, 0] / (1 - noise[:, 0])).log()
        hard = (((own + logistic).sigmoid()) > 0.5).float()
        full = hard.repeat_interleave(2, 1).repeat_interleave(2, 2)  # 16 -> 32 pixels, nearest
        regions = F.normalize(model.backbone.encode_image(image * full[:, None]), dim=1)

        def contrast(name, cosine):
            scaled = cosine * model.co_decomposition.losses[name].logit_scale.exp()
            target = torch.arange(4)
            return (F.cross_entropy(scaled, target) + F.cross_entropy(scaled.T, target)) / 2

        pooled = torch.einsum('ichw,ithw->itc', features, soft) / soft.sum((2, 3))[..., None]
        cosine = torch.einsum('itc,tc->it', F.normalize(pooled, dim=-1), text)
        others = [soft[i, t].mean() for i in range(4) for t in range(4) if i != t]
        positive = torch.stack([soft[i, i].mean() for i in range(4)]).mean()
        expected = dict(
            region_feature=1.0 * contrast('region_feature', cosine),
            region_image=0.5 * contrast('region_image', regions @ text.T),
            feature_variation=_variation(features),
            mask_variation=_variation(soft),
            area=2.0 * (positive - 0.1).abs(),
            negative_area=0.05 * torch.stack(others).mean(),
        )
    assert set(values) == {f'loss_{name}' for name in LOSSES}
    for name, value in expected.items():
        torch.testing.assert_close(
            values[f'loss_{name}'], value, rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f'{n}: {m}'
        )


def _variation(x):
    return (x[..., 1:] - x[..., :-1]).abs().mean() + (x[..., 1:, :] - x[..., :-1, :]).abs().mean()


def test_class_names_are_put_into_templates(run):
    model = run[0].model
    model.set_class_names(['background', 'star', 'blue boat'])
    templates = ['a {}.', 'there is a {}.', 'this shows a {}.', 'look at a {}.']
    for row, name in zip(model.vocabulary.embeddings, ['star', 'blue boat'], strict=True):
        ids = model.backbone.tokenize([template.format(name) for template in templates], LENGTH)
        mean = F.normalize(model.backbone.encode_text(ids), dim=1).mean(0)
        torch.testing.assert_close(row, mean / mean.norm())
    protocol = model_protocol(model)  # of a score
    assert protocol['templates'] == templates
    assert protocol['noun_prompt']['type'] == 'PlainTextPrompt'


@pytest.mark.parametrize(
    ('name', 'other'),
    [
        ('projects/tcl/configs/tcl_cc3m-cc12m.py', 'code_cc3m-cc12m.py'),
        (
            'projects/tcl/configs/tcl_shapes-hard.py',
            'projects/shapes_world/configs/code_shapes-hard.py',
        ),
    ],
)
def test_a_config_differs_from_codes_in_the_method_only(name, other):
    tcl, code = load(name), load(other)
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'val_dataloader'):
        assert tcl[key] == code[key]
    for key in ('backbone', 'image_segmenter', 'data_preprocessor', 'test_cfg'):
        assert tcl.model[key] == code.model[key]
    assert all(
        tcl.model.co_decomposition.losses[loss] == code.model.co_decomposition.losses[loss]
        for loss in LOSSES
    )
    assert set(MODELS.build(shrink(tcl).model).co_decomposition.losses) == LOSSES
    sets, of_code = (
        cfg.train_dataloader.dataset.get('datasets', [cfg.train_dataloader.dataset])
        for cfg in (load(name), load(other))
    )
    for one, two in zip(sets, of_code, strict=True):
        assert {**one, 'pipeline': 0} == {**two, 'pipeline': 0}
        assert [step.type for step in two.pipeline[:2]] == ['LoadNouns', 'SelectNouns']
        assert one.pipeline[0].type == 'CaptionAsNoun'
        pairs = zip(one.pipeline[1:], two.pipeline[2:], strict=True)
        assert [a.type for a, b in pairs if a != b] == ['TokenizeCaption']


def test_regions_are_cut_out_of_their_image():
    image = images(2, 4, 6)
    mask = torch.zeros(4, 1, 2, 3)
    mask[0, 0, 0, 0] = mask[3, 0, 1, 2] = 1  # pair j * b + i is image i
    expected = torch.zeros(4, 3, 4, 6)
    expected[0, :, :2, :2] = image[0, :, :2, :2]
    expected[3, :, 2:, 4:] = image[1, :, 2:, 4:]
    assert torch.equal(RegionBlanking()(image, mask), expected)


def test_too_long_texts_are_refused():
    ids = torch.zeros(1, LENGTH + 1, dtype=torch.long)
    with pytest.raises(ValueError, match=r'at most 24 tokens.*got 25; set noun_context_length=24'):
        PlainTextPrompt()(ids, tiny_clip())
