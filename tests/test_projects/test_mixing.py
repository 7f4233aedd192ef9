"""The configs of projects/mixing run on a small world, and score what a slow reading scores.

Everything is the config's, at the sizes of tiny_configs.py.
"""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from code_mm.evaluation import class_ious, confusion_counts
from projects.shapes_world import BACKGROUNDS, NOUNS

UNSEEN = ['house', 'mushroom', 'flower', 'car']
SEEN = [name for name in (*NOUNS, *BACKGROUNDS) if name not in UNSEEN]
SIDE, CONFIGS = 32, 'mixing/configs'


def upsample(x, size=(SIDE, SIDE)):
    return F.interpolate(x, size, mode='bilinear', align_corners=False)


def cosines(model, image, embeddings):
    """Features of all four maps, brought to the finest grid, projected, against the names."""
    maps = model.backbone(image)
    size = maps[0].shape[2:]
    maps = [upsample(m, size) for m in maps]
    weight = model.decode_head.projection.weight[:, :, 0, 0]
    features = torch.cat(maps, 1).movedim(1, -1) @ weight.T + model.decode_head.projection.bias
    return torch.einsum('bhwc,nc->bnhw', F.normalize(features, dim=-1), embeddings)


@pytest.mark.parametrize('name', ['zero-shot-head', 'caption-aligned'])
def test_names_that_no_label_had_can_be_asked_for(tiny_runner, name):
    keys = {'test_dataloader.dataset.metainfo.classes': UNSEEN}
    runner, recorder = tiny_runner(f'{CONFIGS}/{name}_mit_shapes.py', **keys)
    runner.test()
    model, counts = runner.model, 0
    assert model.class_names == tuple(UNSEEN)
    for batch in runner.test_dataloader:
        data = model.data_preprocessor(batch)
        with torch.no_grad():
            logits = 20 * cosines(model, data['inputs'], model.vocabulary.embeddings) - 5
        found = upsample(torch.sigmoid(logits)).argmax(1).numpy()
        for labels, sample in zip(found, data['data_samples'], strict=True):
            counts = counts + confusion_counts(labels, sample.gt_sem_seg.data[0].numpy(), 4)
    expected = 100 * np.nanmean(class_ious(counts))
    assert recorder.metrics['mIoU'] == pytest.approx(expected, abs=0.3)


def test_pamr_after_an_ordinary_segformer(tiny_runner):
    plain, before = tiny_runner(f'{CONFIGS}/segformer_mit_shapes.py')
    plain.train()
    plain.test()
    assert type(plain.model).__name__ == 'EncoderDecoder'
    keys = {'model.type': 'WindowedEncoderDecoder', 'model.post_processor.type': 'PAMR'}
    runner, after = tiny_runner(f'{CONFIGS}/segformer_mit_shapes.py', **keys)
    runner.load_or_resume()
    runner.model.load_state_dict(plain.model.state_dict())  # the same names: any checkpoint fits
    runner.test()
    assert after.metrics.keys() == before.metrics.keys() and after.metrics != before.metrics


def kind_of(sample):
    return 'gt_sem_seg' in sample, 'caption_ids' in sample


@pytest.mark.parametrize('name', ['zero-shot-head', 'caption-aligned'])
def test_models_train_on_what_their_configs_mix(tiny_runner, name):
    """Labels alone, or captions, labels with captions, and labels."""
    keys = {'train_dataloader.batch_size': 12}
    runner, recorder = tiny_runner(f'{CONFIGS}/{name}_mit_shapes.py', **keys)
    dataset = runner.train_dataloader.dataset
    kinds = [kind_of(dataset[i]['data_samples']) for i in range(len(dataset))]
    runner.train()
    # after the validation, which asked for all names, training went on with those of the labels
    assert recorder.names == [tuple(SEEN)] * 3
    batch, values = recorder.batches[-1], recorder.losses[-1]
    labels = [s.gt_sem_seg.data for s in batch['data_samples'] if 'gt_sem_seg' in s]
    assert set(torch.cat(labels).unique().tolist()) <= {*range(len(SEEN)), 255}
    assert all(math.isfinite(value) for value in values.values()) and values['decode.loss_ce'] > 0
    if name == 'zero-shot-head':
        assert set(kinds) == {(True, False)}
        return
    assert kinds == [(True, True)] * 12 + [(False, True)] * 16 + [(True, False)] * 12
    assert len({kind_of(sample) for sample in batch['data_samples']}) > 1
    aligned = {name for name in values if name.startswith('alignment.')}
    assert aligned == {f'alignment.loss_{name}' for name in runner.model.co_decomposition.losses}
