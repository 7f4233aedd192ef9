"""The configs of projects/mixing run on a small world, and score what a slow reading scores.

Everything is the config's, at the sizes of tiny_configs.py.
"""

import copy
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from safetensors.torch import save_file
from tiny_configs import load, parts, shrink
from tiny_model import openai_state, tiny_clip

from projects.shapes_world import BACKGROUNDS, NOUNS

ROOT = Path(__file__).resolve().parents[2]
UNSEEN = ['house', 'mushroom', 'flower', 'car']
ASK_FOR_UNSEEN = {'test_dataloader.dataset.metainfo.classes': UNSEEN}
NAMES = [*NOUNS, *BACKGROUNDS]  # label i + 1 on disk
SEEN = [name for name in NAMES if name not in UNSEEN]
SIDE = 32


class Recorder(Hook):
    """Keeps batches and losses of training, and metrics."""

    def __init__(self):
        self.batches, self.losses, self.names, self.metrics = [], [], [], None

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.batches.append(copy.deepcopy(data_batch))
        self.weights = copy.deepcopy(runner.model.state_dict())

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({name: value.item() for name, value in outputs.items()})
        self.names.append(getattr(runner.model, 'class_names', None))

    def after_test_epoch(self, runner, metrics=None):
        self.metrics = metrics


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    """A world made by the tool: shards, labelled images to train on, images to score."""
    folder = tmp_path_factory.mktemp('mixing')
    options = dict(level='hard', size=SIDE, train=8, val=6, labelled=12, workers=1)
    command = [sys.executable, str(ROOT / 'projects/shapes_world/make_world.py'), str(folder)]
    command += [f'--{key}={value}' for key, value in options.items()]
    subprocess.run(command, check=True, cwd=folder)
    save_file(openai_state(tiny_clip()), folder / 'clip.safetensors')
    return folder


@pytest.fixture
def config(world, tmp_path):
    """``config('zero-shot-head_mit_shapes.py')``: the config on this world, at a tiny size."""

    def change(name, **overrides):
        cfg = shrink(load(f'projects/mixing/configs/{name}'), world / 'clip.safetensors')
        keys = {'default_hooks.logger.interval': 1}
        for path, part in parts(cfg._cfg_dict.to_dict()):
            if part.get('data_root'):
                keys[f'{path}.data_root'] = str(world)
            if part['type'] == 'AddCaption':
                keys[f'{path}.ann_file'] = str(world / 'captions_training.jsonl')
            if 'indices' in part:
                keys[f'{path}.indices'] = 6 if part['indices'] > 0 else -6
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            if cfg.get(loader):
                keys |= {f'{loader}.num_workers': 0, f'{loader}.persistent_workers': False}
                keys[f'{loader}.batch_size'] = 4
        if cfg.get('train_cfg'):
            keys |= {'train_cfg.max_iters': 3, 'train_cfg.val_interval': 2}
        cfg.merge_from_dict({**keys, **overrides})
        cfg.work_dir = str(tmp_path / name)
        cfg.experiment_name = f'{name}{tmp_path}'.replace('/', '_')
        return cfg

    return change


@pytest.fixture
def runner(config, monkeypatch):
    """``runner('zero-shot-head_mit_shapes.py')``: a Runner of it, and what it records."""
    # laying out configs for the log takes most of a test's time
    monkeypatch.setattr(Config, 'pretty_text', property(lambda cfg: repr(cfg._cfg_dict)))

    def build(name, **overrides):
        made, recorder = Runner.from_cfg(config(name, **overrides)), Recorder()
        made.register_hook(recorder, priority='LOWEST')
        return made, recorder

    return build


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
    found = dict.fromkeys(names, 0)
    everything = dict.fromkeys(names, 0)
    for predicted, labels in pairs:
        for i, name in enumerate(names):
            mask = np.isin(labels, [NAMES.index(n) + 1 for n in names])
            truth = (labels == NAMES.index(name) + 1) & mask
            guess = (predicted == i) & mask
            found[name] += (truth & guess).sum()
            everything[name] += (truth | guess).sum()
    return 100 * np.mean([found[n] / everything[n] for n in names if everything[n]])


def embed_names(clip, names):
    """Each name in the four templates, mean of unit vectors, one at a time."""
    rows = []
    for name in names:
        sentences = [f'a {name}.', f'there is a {name}.', f'this shows a {name}.']
        sentences.append(f'look at a {name}.')
        ids = [clip.tokenize([sentence], clip.context_length) for sentence in sentences]
        embeds = [F.normalize(clip.encode_text(row)[0], dim=0) for row in ids]
        rows.append(F.normalize(torch.stack(embeds).mean(0), dim=0))
    return torch.stack(rows)


def cosines(model, image, embeddings):
    """Features of all four maps, brought to the finest grid, projected, against the names."""
    maps = model.backbone(image)
    size = maps[0].shape[2:]
    maps = [F.interpolate(m, size, mode='bilinear', align_corners=False) for m in maps]
    weight = model.decode_head.projection.weight[:, :, 0, 0]
    features = torch.cat(maps, 1).movedim(1, -1) @ weight.T + model.decode_head.projection.bias
    return torch.einsum('bhwc,nc->bnhw', F.normalize(features, dim=-1), embeddings)


def label_loss(model, batch, embeddings):
    """Cross-entropy of the labelled pixels under the names of ``embeddings``."""
    data = model.data_preprocessor(batch, training=True)
    rows = [i for i, sample in enumerate(data['data_samples']) if 'gt_sem_seg' in sample]
    labels = torch.cat([data['data_samples'][i].gt_sem_seg.data for i in rows])
    head = model.decode_head
    logits = cosines(model, data['inputs'][rows], embeddings)
    logits = head.similarity_to_mask.scale * logits + head.similarity_to_mask.bias
    logits = F.interpolate(logits, labels.shape[1:], mode='bilinear', align_corners=False)
    return F.cross_entropy(logits, labels.long(), ignore_index=255), labels


def at_the_last_iteration(made, recorder):
    """The model with the weights that the last recorded batch met, as it trains."""
    model = made.model
    model.load_state_dict(recorder.weights)
    model.train()
    return model


def test_the_zero_shot_head_learns_names_that_labels_have(runner, world):
    made, recorder = runner('zero-shot-head_mit_shapes.py')
    made.train()
    # after the validation, which asked for all names, training went on with those of the labels
    assert recorder.names == [tuple(SEEN)] * 3
    model = at_the_last_iteration(made, recorder)
    with torch.no_grad():
        embeddings = embed_names(model.vision_language_backbone, SEEN)
        loss, labels = label_loss(model, recorder.batches[-1], embeddings)
    assert recorder.losses[-1]['decode.loss_ce'] == pytest.approx(loss.item(), rel=1e-3)
    assert set(labels.unique().tolist()) <= {*range(len(SEEN)), 255}


def test_no_pixel_of_a_held_out_noun_is_seen(runner, world):
    made, _ = runner('zero-shot-head_mit_shapes.py')
    dataset = made.train_dataloader.dataset
    dataset.pipeline.transforms = [
        t for t in dataset.pipeline.transforms if type(t).__name__ not in CUTS
    ]
    held_out = 0
    for i in range(len(dataset)):
        path = dataset.get_data_info(i)['seg_map_path']
        on_disk = cv2.imread(path, cv2.IMREAD_UNCHANGED)
        labels = dataset[i]['data_samples'].gt_sem_seg.data[0].numpy()
        for value in np.unique(on_disk):
            name = NAMES[value - 1]
            expected = SEEN.index(name) if name in SEEN else 255
            assert (labels[on_disk == value] == expected).all()
            held_out += name in UNSEEN
    assert held_out > 3


CUTS = ('RandomResizedCrop', 'RandomFlip')


def test_names_that_no_label_had_can_be_asked_for(runner, world):
    made, recorder = runner('zero-shot-head_mit_shapes.py', **ASK_FOR_UNSEEN)
    made.test()
    model = made.model
    assert model.class_names == tuple(UNSEEN)
    with torch.no_grad():
        embeddings = embed_names(model.vision_language_backbone, UNSEEN)
        pairs = []
        for image, labels in scored_images(world):
            scores = cosines(model, image, embeddings)
            scores = torch.sigmoid(20 * scores - 5)
            scores = F.interpolate(scores, (SIDE, SIDE), mode='bilinear', align_corners=False)
            pairs.append((scores[0].argmax(0).numpy(), labels))
    # to the second decimal, as mmseg rounds it
    assert recorder.metrics['mIoU'] == pytest.approx(mean_iou(pairs, UNSEEN), abs=0.3)


def test_pamr_after_an_ordinary_segformer(runner, world):
    plain, _ = runner('segformer_mit_shapes.py')
    plain.train()
    assert type(plain.model).__name__ == 'EncoderDecoder'
    keys = {'model.type': 'WindowedEncoderDecoder', 'model.post_processor.type': 'PAMR'}
    made, recorder = runner('segformer_mit_shapes.py', **keys)
    made.load_or_resume()
    made.model.load_state_dict(plain.model.state_dict())  # the same names: any checkpoint fits
    made.test()
    model = plain.model.eval()
    pairs, unrefined = [], []
    with torch.no_grad():
        for image, labels in scored_images(world):
            logits = model.decode_head(model.backbone(image))
            logits = F.interpolate(logits, (SIDE, SIDE), mode='bilinear', align_corners=False)
            scores = logits.softmax(1)[0]
            unrefined.append((scores.argmax(0).numpy(), labels))
            pairs.append((slow_pamr(image[0], scores).argmax(0).numpy(), labels))
    assert recorder.metrics['mIoU'] == pytest.approx(mean_iou(pairs, NAMES), abs=0.05)
    changed = [(a != b).any() for (a, _), (b, _) in zip(pairs, unrefined, strict=True)]
    assert any(changed)


def slow_pamr(image, masks, dilations=(1, 2, 4, 8, 12, 24), num_iter=10):
    """Weighted means over 8 neighbours per dilation; borders are repeated."""
    _, height, width = image.shape
    offsets = [(dy * d, dx * d) for d in dilations for dy in (-1, 0, 1) for dx in (-1, 0, 1)]

    def shifted(x, offset):
        rows = (torch.arange(height) + offset[0]).clamp(0, height - 1)
        columns = (torch.arange(width) + offset[1]).clamp(0, width - 1)
        return x[:, rows][:, :, columns]

    std = torch.stack([shifted(image, offset) for offset in offsets]).std(0)
    offsets = [offset for offset in offsets if offset != (0, 0)]
    affinity = [
        -((image - shifted(image, offset)).abs() / (0.1 * std + 1e-8)).mean(0) for offset in offsets
    ]
    affinity = torch.stack(affinity).softmax(0)
    for _ in range(num_iter):
        masks = sum(a * shifted(masks, o) for a, o in zip(affinity, offsets, strict=True))
    return masks


def test_three_sources_train_one_model(runner, world):
    made, recorder = runner('caption-aligned_mit_shapes.py', **{'train_dataloader.batch_size': 12})
    dataset = made.train_dataloader.dataset
    assert [len(part) for part in dataset.datasets] == [2 * 6, 8, 2 * 6]
    kinds = []
    for i in range(len(dataset)):
        sample = dataset[i]['data_samples']
        kinds.append(('gt_sem_seg' in sample, 'caption_ids' in sample))
    assert kinds == [(True, True)] * 12 + [(False, True)] * 8 + [(True, False)] * 12
    made.train()
    assert recorder.names == [tuple(SEEN)] * 3
    model = at_the_last_iteration(made, recorder)
    batch = recorder.batches[-1]
    present = {('gt_sem_seg' in s, 'caption_ids' in s) for s in batch['data_samples']}
    assert len(present) > 1  # kinds are mixed within a batch
    with torch.no_grad():
        part, clip = model.co_decomposition, model.vision_language_backbone
        length = clip.context_length - part.noun_prompt.num_contexts
        ids = [clip.tokenize([name], length) for name in SEEN]
        embeddings = torch.cat([part.noun_prompt(row, clip) for row in ids])
        loss, _ = label_loss(model, copy.deepcopy(batch), embeddings)
        guided = knowledge_guided_loss(part, clip, batch['data_samples'])
    values = recorder.losses[-1]
    assert values['decode.loss_ce'] == pytest.approx(loss.item(), rel=1e-3)
    assert values['alignment.loss_knowledge_guided'] == pytest.approx(guided, rel=1e-3)
    aligned = {name for name in values if name.startswith('alignment.')}
    assert aligned == {f'alignment.loss_{name}' for name in part.losses}


def knowledge_guided_loss(part, clip, samples):
    """8 * (1 - cosine of a noun behind the contexts and in its template), pair by pair."""
    distances = []
    for sample in samples:
        if 'caption_ids' in sample:
            for noun, guide in zip(sample.noun_ids, sample.guide_ids, strict=True):
                noun = part.noun_prompt(noun[None], clip)
                guide = clip.encode_text(guide[None])
                distances.append(1 - F.cosine_similarity(noun, guide))
    return 8 * torch.stack(distances).mean().item()


def test_names_of_captions_can_be_asked_for(runner, world):
    made, recorder = runner('caption-aligned_mit_shapes.py', **ASK_FOR_UNSEEN)
    made.test()
    model = made.model
    assert model.class_names == tuple(UNSEEN)
    with torch.no_grad():
        part, clip = model.co_decomposition, model.vision_language_backbone
        length = clip.context_length - part.noun_prompt.num_contexts
        ids = [clip.tokenize([name], length) for name in UNSEEN]
        embeddings = torch.cat([part.noun_prompt(row, clip) for row in ids])
        pairs = []
        for image, labels in scored_images(world):
            scores = torch.sigmoid(20 * cosines(model, image, embeddings) - 5)
            scores = F.interpolate(scores, (SIDE, SIDE), mode='bilinear', align_corners=False)
            pairs.append((scores[0].argmax(0).numpy(), labels))
    assert recorder.metrics['mIoU'] == pytest.approx(mean_iou(pairs, UNSEEN), abs=0.3)


def test_ade20k_holds_out_one_class_in_ten():
    cfg = load('projects/mixing/configs/zero-shot-head_mit-b0_ade20k.py')
    assert len(cfg.unseen_classes) == 15 and len(cfg.seen_classes) == 135
    assert not set(cfg.unseen_classes) & set(cfg.seen_classes)
    assert list(cfg.model.class_names) == list(cfg.seen_classes)
    assert cfg.train_dataloader.dataset.metainfo.classes == cfg.seen_classes
    assert 'metainfo' not in cfg.test_dataloader.dataset
