"""TCL: the image segmenter learns from captions, by configs and registered parts alone."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_configs import load, shrink
from tiny_model import SIZES

from code_mm.evaluation.protocol import model_protocol
from code_mm.registry import MODELS

LENGTH = SIZES['context_length']
LOSSES = {
    *('region_feature', 'region_image', 'feature_variation', 'mask_variation'),
    *('area', 'negative_area'),
}


def build(tiny_runner):
    # captions are as long as the tower takes
    keys = {'train_dataloader.dataset.pipeline.4.noun_context_length': LENGTH}
    return tiny_runner('tcl/configs/tcl_shapes-hard.py', **keys)


def test_the_image_segmenter_learns_and_clip_does_not(tiny_runner):
    runner, recorder = build(tiny_runner)
    runner.train()
    assert all(np.isfinite(list(values.values())).all() for values in recorder.losses)
    after = runner.model.state_dict()
    moved = {n for n, value in recorder.weights.items() if not torch.equal(value, after[n])}
    assert moved >= {
        *('image_segmenter.tail.proj', 'image_segmenter.tail.block.mlp.c_fc.weight'),
        *('image_segmenter.decoder.0.gate', 'co_decomposition.similarity_to_mask.scale'),
        *(f'co_decomposition.losses.region_{n}.logit_scale' for n in ('image', 'feature')),
    }
    assert not any(name.startswith('backbone.') for name in moved)
    assert 0 <= runner.message_hub.get_scalar('val/mIoU').current() <= 100


def test_losses_of_a_batch_against_a_plain_computation(tiny_runner):
    """TCL's losses from the text tower, the segmenter's features and nothing of ours."""
    runner, _ = build(tiny_runner)
    model = runner.model
    model.init_weights()
    loader = runner.build_dataloader(runner.cfg.train_dataloader)
    batch = model.data_preprocessor(next(iter(loader)), training=True)
    image, samples = batch['inputs'], batch['data_samples']
    noise = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(3))
    model.similarity_to_mask.sample_noise = lambda similarity: noise
    with torch.no_grad():
        values = model.loss(image, samples)

        captions = [sample.caption for sample in samples]
        assert [sample.selected_nouns for sample in samples] == [[c] for c in captions]
        ids = model.backbone.tokenize(captions, LENGTH)
        text = F.normalize(model.backbone.encode_text(ids), dim=1)
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


def test_class_names_are_put_into_templates():
    model = MODELS.build(shrink(load('projects/tcl/configs/tcl_shapes-hard.py')).model)
    model.set_class_names(['background', 'star', 'blue boat'])
    templates = ['a {}.', 'there is a {}.', 'this shows a {}.', 'look at a {}.']
    for row, name in zip(model.vocabulary.embeddings, ['star', 'blue boat'], strict=True):
        ids = model.backbone.tokenize([template.format(name) for template in templates], LENGTH)
        mean = F.normalize(model.backbone.encode_text(ids), dim=1).mean(0)
        torch.testing.assert_close(row, mean / mean.norm())
    assert model_protocol(model)['templates'] == templates


@pytest.mark.parametrize(
    ('folder', 'name'),
    [('', 'cc3m-cc12m.py'), ('projects/shapes_world/configs/', 'shapes-hard.py')],
)
def test_a_config_differs_from_codes_in_the_method_only(folder, name):
    tcl, code = load(f'projects/tcl/configs/tcl_{name}'), load(f'{folder}code_{name}')
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'val_dataloader'):
        assert tcl[key] == code[key]
    for key in ('backbone', 'image_segmenter', 'data_preprocessor', 'test_cfg'):
        assert tcl.model[key] == code.model[key]
    sets, of_code = (
        cfg.train_dataloader.dataset.get('datasets', [cfg.train_dataloader.dataset])
        for cfg in (tcl, code)
    )
    for one, two in zip(sets, of_code, strict=True):
        assert {**one, 'pipeline': 0} == {**two, 'pipeline': 0}
        assert [step.type for step in two.pipeline[:2]] == ['LoadNouns', 'SelectNouns']
        assert one.pipeline[0].type == 'CaptionAsNoun'
        pairs = zip(one.pipeline[1:], two.pipeline[2:], strict=True)
        assert [a.type for a, b in pairs if a != b] == ['TokenizeCaption']
    assert set(MODELS.build(shrink(tcl).model).co_decomposition.losses) == LOSSES
