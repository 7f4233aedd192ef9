"""The configs of projects/mixing run on a small world, and score what a slow reading scores.

Everything is the config's, at the sizes of tiny_configs.py.
"""

import math

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from code_mm.models.post_processing import PAMR
from projects.shapes_world import BACKGROUNDS, NOUNS

UNSEEN = ['house', 'mushroom', 'flower', 'car']
NAMES = [*NOUNS, *BACKGROUNDS]  # label i + 1 on disk
SEEN = [name for name in NAMES if name not in UNSEEN]
SIDE, CONFIGS = 32, 'mixing/configs'


def scored_images(world):
    """Normalised images [1, 3, 32, 32] with the labels on disk."""
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    for file in sorted((world / 'images/validation').glob('*.jpg')):
        rgb = torch.tensor(cv2.imread(str(file))[..., ::-1].copy()).float()
        labels = world / 'annotations_with_backgrounds/validation' / f'{file.stem}.png'
        image = ((rgb - mean) / std).permute(2, 0, 1)[None]
        yield image, cv2.imread(str(labels), cv2.IMREAD_UNCHANGED)


def mean_iou(pairs, names):
    """mIoU in percent over classes that are there, pixels of other names left out."""
    predicted, labels = (np.stack(maps) for maps in zip(*pairs, strict=True))
    known = np.isin(labels, [NAMES.index(name) + 1 for name in names])
    ious = []
    for i, name in enumerate(names):
        truth, guess = labels == NAMES.index(name) + 1, (predicted == i) & known
        if (truth | guess).any():
            ious.append((truth & guess).sum() / (truth | guess).sum())
    return 100 * np.mean(ious)


def embed_names(model, names):
    """Each name behind learnt contexts, else in the four templates (mean of unit vectors)."""
    clip = model.vision_language_backbone
    if model.noun_prompt is not None:
        length = clip.context_length - model.noun_prompt.num_contexts
        return torch.cat([model.noun_prompt(clip.tokenize([n], length), clip) for n in names])
    rows = []
    for name in names:
        sentences = ('a {}.', 'there is a {}.', 'this shows a {}.', 'look at a {}.')
        ids = clip.tokenize([s.format(name) for s in sentences], clip.context_length)
        rows.append(F.normalize(F.normalize(clip.encode_text(ids), dim=1).mean(0), dim=0))
    return torch.stack(rows)


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


def assert_label_loss(runner, recorder):
    """The last iteration's loss is the cross-entropy of labelled pixels under the seen names."""
    # after the validation, which asked for all names, training went on with those of the labels
    assert recorder.names == [tuple(SEEN)] * 3
    model = runner.model.train()
    model.load_state_dict(recorder.weights)
    data = model.data_preprocessor(recorder.batches[-1], training=True)
    rows = [i for i, sample in enumerate(data['data_samples']) if 'gt_sem_seg' in sample]
    labels = torch.cat([data['data_samples'][i].gt_sem_seg.data for i in rows])
    to_mask = model.decode_head.similarity_to_mask
    with torch.no_grad():
        logits = cosines(model, data['inputs'][rows], embed_names(model, SEEN))
        logits = upsample(to_mask.scale * logits + to_mask.bias, labels.shape[1:])
    loss = F.cross_entropy(logits, labels.long(), ignore_index=255)
    assert recorder.losses[-1]['decode.loss_ce'] == pytest.approx(loss.item(), rel=1e-3)
    assert set(labels.unique().tolist()) <= {*range(len(SEEN)), 255}


def test_the_zero_shot_head_learns_names_that_labels_have(tiny_runner):
    runner, recorder = tiny_runner(f'{CONFIGS}/zero-shot-head_mit_shapes.py')
    runner.train()
    assert_label_loss(runner, recorder)


@pytest.mark.parametrize('name', ['zero-shot-head', 'caption-aligned'])
def test_names_that_no_label_had_can_be_asked_for(tiny_runner, tiny_world, name):
    keys = {'test_dataloader.dataset.metainfo.classes': UNSEEN}
    runner, recorder = tiny_runner(f'{CONFIGS}/{name}_mit_shapes.py', **keys)
    runner.test()
    model = runner.model
    assert model.class_names == tuple(UNSEEN)
    pairs = []
    with torch.no_grad():
        embeddings = embed_names(model, UNSEEN)
        for image, labels in scored_images(tiny_world):
            scores = upsample(torch.sigmoid(20 * cosines(model, image, embeddings) - 5))
            pairs.append((scores[0].argmax(0).numpy(), labels))
    assert recorder.metrics['mIoU'] == pytest.approx(mean_iou(pairs, UNSEEN), abs=0.3)


def test_pamr_after_an_ordinary_segformer(tiny_runner, tiny_world):
    plain, _ = tiny_runner(f'{CONFIGS}/segformer_mit_shapes.py')
    plain.train()
    assert type(plain.model).__name__ == 'EncoderDecoder'
    keys = {'model.type': 'WindowedEncoderDecoder', 'model.post_processor.type': 'PAMR'}
    runner, recorder = tiny_runner(f'{CONFIGS}/segformer_mit_shapes.py', **keys)
    runner.load_or_resume()
    runner.model.load_state_dict(plain.model.state_dict())  # the same names: any checkpoint fits
    runner.test()
    model, refine = plain.model.eval(), PAMR()
    refined, unrefined = [], []
    with torch.no_grad():
        for image, labels in scored_images(tiny_world):
            scores = upsample(model.decode_head(model.backbone(image))).softmax(1)
            unrefined.append((scores[0].argmax(0).numpy(), labels))
            refined.append((refine(image, scores)[0].argmax(0).numpy(), labels))
    assert recorder.metrics['mIoU'] == pytest.approx(mean_iou(refined, NAMES), abs=0.05)
    assert any((a != b).any() for (a, _), (b, _) in zip(refined, unrefined, strict=True))


def test_three_sources_train_one_model(tiny_runner):
    keys = {'train_dataloader.batch_size': 12}
    runner, recorder = tiny_runner(f'{CONFIGS}/caption-aligned_mit_shapes.py', **keys)
    dataset = runner.train_dataloader.dataset
    assert [len(part) for part in dataset.datasets] == [2 * 6, 16, 2 * 6]
    kinds = [kind_of(dataset[i]['data_samples']) for i in range(len(dataset))]
    assert kinds == [(True, True)] * 12 + [(False, True)] * 16 + [(True, False)] * 12
    runner.train()
    batch, values = recorder.batches[-1], recorder.losses[-1]
    assert len({kind_of(sample) for sample in batch['data_samples']}) > 1
    assert_label_loss(runner, recorder)
    aligned = {name for name in values if name.startswith('alignment.')}
    assert aligned == {f'alignment.loss_{name}' for name in runner.model.co_decomposition.losses}
    assert all(math.isfinite(value) for value in values.values())


def kind_of(sample):
    return 'gt_sem_seg' in sample, 'caption_ids' in sample
