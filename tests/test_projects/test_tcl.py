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


def variation(x):
    return (x[..., 1:] - x[..., :-1]).abs().mean() + (x[..., 1:, :] - x[..., :-1, :]).abs().mean()


def slow_losses(model, image, captions, noise):
    """TCL's losses from the text tower, the segmenter's features and nothing of ours."""
    text = model.backbone.encode_text(model.backbone.tokenize(captions, LENGTH))
    text, features = F.normalize(text, dim=1), model.pixel_embeddings(image)
    to_mask = model.similarity_to_mask
    logits = to_mask.scale * torch.einsum('ichw,tc->ithw', features, text) + to_mask.bias
    soft, own = logits.sigmoid(), torch.stack([logits[i, i] for i in range(4)])
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
    area, same = soft.mean((2, 3)), torch.eye(4, dtype=torch.bool)
    return dict(
        loss_region_feature=1.0 * contrast('region_feature', cosine),
        loss_region_image=0.5 * contrast('region_image', regions @ text.T),
        loss_feature_variation=variation(features),
        loss_mask_variation=variation(soft),
        loss_area=2.0 * (area[same].mean() - 0.1).abs(),
        loss_negative_area=0.05 * area[~same].mean(),
    )


def test_the_image_segmenter_learns_from_all_losses_and_clip_does_not(tiny_runner):
    # captions are as long as the tower takes
    keys = {'train_dataloader.dataset.pipeline.4.noun_context_length': LENGTH}
    runner, recorder = tiny_runner('tcl/configs/tcl_shapes-hard.py', **keys)
    runner.train()
    assert all(np.isfinite(list(values.values())).all() for values in recorder.losses)
    model = runner.model
    after = model.state_dict()
    moved = {n for n, value in recorder.weights.items() if not torch.equal(value, after[n])}
    assert moved >= {
        *('image_segmenter.tail.proj', 'image_segmenter.tail.block.mlp.c_fc.weight'),
        *('image_segmenter.decoder.0.gate', 'co_decomposition.similarity_to_mask.scale'),
        *(f'co_decomposition.losses.region_{n}.logit_scale' for n in ('image', 'feature')),
    }
    assert not any(name.startswith('backbone.') for name in moved)
    assert 0 <= runner.message_hub.get_scalar('val/mIoU').current() <= 100

    batch = model.train().data_preprocessor(recorder.batches[-1], training=True)
    image, samples = batch['inputs'], batch['data_samples']
    captions = [sample.caption for sample in samples]
    assert [sample.selected_nouns for sample in samples] == [[c] for c in captions]
    noise = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(3))
    model.similarity_to_mask.sample_noise = lambda similarity: noise
    with torch.no_grad():
        found, expected = model.loss(image, samples), slow_losses(model, image, captions, noise)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_class_names_are_put_into_templates():
    model = MODELS.build(shrink(load('projects/tcl/configs/tcl_shapes-hard.py')).model)
    protocol = model_protocol(model)  # as in the study; the release's mean is of raw ones
    assert protocol['templates'] == ['a {}.', 'there is a {}.', 'this shows a {}.', 'look at a {}.']
    assert not protocol['raw_template_mean']
    for name in ('tcl_cc3m-cc12m.py', 'tcl_vit-b16_all.py'):
        assert load(f'projects/tcl/configs/{name}').model.raw_template_mean


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
