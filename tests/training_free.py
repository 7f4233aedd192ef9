"""Training-free methods on a few images of the shapes world: by config, and by plain formulas.

The plain side uses neither our models nor mmseg: weights from the file, attention written out,
labels from cosines, IoU by counting. What distinguishes the methods, the last block, is handed in.
"""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.runner import Runner
from safetensors.torch import load_file
from tiny_configs import PROJECTS

from code_mm.tokenizers import CLIPTokenizer
from projects.shapes_world import NOUNS, ShapesWorld, write_evaluation, write_shards

WEIGHTS = PROJECTS / 'shapes_world' / 'weights' / 'small_clip_shapes.safetensors'
TEMPLATES = (  # thesis §4.1
    'itap of a {}.',
    'a bad photo of a {}.',
    'a origami {}.',
    'a photo of the large {}.',
    'a {} in a video game.',
    'art of the {}.',
    'a photo of the small {}.',
    'a photo of many {}.',
    'a photo of {}s.',
)
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
PATCH, GRID, BLOCKS, TEXT_BLOCKS, HEADS, HEAD_WIDTH = 8, 8, 4, 3, 2, 64
SCALE, BIAS, BACKGROUND = 20.0, -5.0, 0.4


def make_world(folder, images=6):
    """Images with label maps, and a shard of captions."""
    world = ShapesWorld('hard', size=64)
    write_evaluation(world, folder, count=images)
    write_shards(world, folder / 'shards', count=8, per_shard=8)
    return folder


def build_config(file, world, work_dir, **keys):
    """A config of the shapes world on that world; ``keys`` with __ for the dots."""
    cfg = Config.fromfile(file)
    loaders = ['test_dataloader']
    if 'train_dataloader' in cfg:
        loaders += ['train_dataloader', 'val_dataloader']
        keys = {'train_dataloader__batch_size': 4, **keys}
    for loader in loaders:
        keys[f'{loader}__num_workers'] = 0
        keys[f'{loader}__persistent_workers'] = False
        keys[f'{loader}__dataset__data_root'] = str(world)
    cfg.merge_from_dict({key.replace('__', '.'): value for key, value in keys.items()})
    cfg.work_dir, cfg.experiment_name = str(work_dir), str(work_dir).replace('/', '_')
    return cfg


def build_training(config, world, work_dir, iters=2, **keys):
    """A Runner that trains for a few iterations, without decoder gates and pictures."""
    cfg = build_config(
        PROJECTS / config,
        world,
        work_dir,
        model__image_segmenter__init_gate=0.0,  # it starts from the upsampled dense features
        train_cfg__max_iters=iters,
        train_cfg__val_interval=iters + 1,
        default_hooks__logger__interval=1,
        custom_hooks=[dict(type='ClassNamesHook')],
        **keys,
    )
    return Runner.from_cfg(cfg)


def pictures(world):
    """Pairs of a RGB image [64, 64, 3] and its label map [64, 64]."""
    for path in sorted((Path(world) / 'images' / 'validation').glob('*.jpg')):
        truth = Path(world) / 'annotations' / 'validation' / f'{path.stem}.png'
        yield cv2.imread(str(path))[..., ::-1].astype(float), cv2.imread(str(truth), -1)


def start_features(runner, image):
    """What CoDe's image segmenter starts from: unit-length features [c, H, W] of a RGB image."""
    runner.model.init_weights()
    pixels = torch.from_numpy((image - np.array(MEAN)) / np.array(STD)).float()
    with torch.no_grad():
        return runner.model.pixel_embeddings(pixels.permute(2, 0, 1)[None])[0]


def what_learnt(runner):
    """Parts of the image segmenter's block that the optimiser has seen a gradient of."""
    block, state = runner.model.image_segmenter.tail.block, runner.optim_wrapper.optimizer.state
    rows = state[block.attn.in_proj_weight]['exp_avg_sq'].unflatten(0, (3, -1)).sum(dim=(1, 2))
    parts = dict(zip(('query', 'key', 'value'), rows > 0, strict=True))
    parts['feed_forward'] = block.mlp.c_fc.weight in state
    return {name for name, learnt in parts.items() if learnt}


def check_miou(config, world, work_dir, last_block):
    """The mIoU of a config below ``projects/``, without training, is that of plain formulas."""
    runner = Runner.from_cfg(build_config(PROJECTS / config, world, work_dir))
    runner.model.init_weights()
    expected = PlainMethod(last_block).miou(world)
    assert runner.test()['mIoU'] == pytest.approx(expected, abs=0.02)  # percent, two digits


def check_start_of_code(config, world, work_dir, last_block, learnt, **keys):
    """CoDe starts from the method's dense features, and these parts of the block learn."""
    runner = build_training(config, world, work_dir, **keys)
    image, _ = next(iter(pictures(world)))
    expected = PlainMethod(last_block).upsampled(image).float()
    torch.testing.assert_close(start_features(runner, image), expected, rtol=1e-3, atol=1e-4)
    runner.train()
    losses = runner.message_hub.get_scalar('train/loss')
    assert math.isfinite(losses.current())
    assert what_learnt(runner) == learnt


class Block:
    """A transformer block's weights, and the steps that readings are made of."""

    def __init__(self, weights, prefix):
        self.w = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}

    def norm(self, x, name):
        return layer_norm(x, self.w, name)

    def projections(self, x):
        """Queries, keys and values of tokens [l, c], each [heads, l, d]."""
        rows = self.norm(x, 'ln_1') @ self.w['attn.in_proj_weight'].T + self.w['attn.in_proj_bias']
        return rows.view(len(x), 3, HEADS, HEAD_WIDTH).permute(1, 2, 0, 3)

    def weights_of(self, a, b, added=0.0):
        """Attention weights softmax(a b^T / sqrt(d) + added) [heads, l, l]."""
        likeness = torch.einsum('hid,hjd->hij', a, b) / HEAD_WIDTH**0.5 + added
        mass = likeness.exp()
        return mass / mass.sum(dim=-1, keepdim=True)

    def output(self, weights, value):
        heads = torch.einsum('hij,hjd->ihd', weights, value).flatten(1)
        return heads @ self.w['attn.out_proj.weight'].T + self.w['attn.out_proj.bias']

    def feed_forward(self, x):
        inner = self.norm(x, 'ln_2') @ self.w['mlp.c_fc.weight'].T + self.w['mlp.c_fc.bias']
        inner = inner / (1 + (-1.702 * inner).exp())
        return inner @ self.w['mlp.c_proj.weight'].T + self.w['mlp.c_proj.bias']

    def run(self, x, added=0.0):
        """The block as CLIP runs it."""
        query, key, value = self.projections(x)
        x = x + self.output(self.weights_of(query, key, added), value)
        return x + self.feed_forward(x)


def layer_norm(x, w, name):
    centred = x - x.mean(dim=-1, keepdim=True)
    scaled = centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    return scaled * w[f'{name}.weight'] + w[f'{name}.bias']


class PlainMethod:
    """CLIP with its last block replaced by ``last_block(block, tokens) -> patches [64, c]``."""

    def __init__(self, last_block):
        self.last_block = last_block
        self.w = {name: value.double() for name, value in load_file(WEIGHTS).items()}

    def dense(self, image):
        """Unit-length features [64, c] of a RGB image [64, 64, 3] in 0 ... 255."""
        w = {k.removeprefix('visual.'): v for k, v in self.w.items() if k.startswith('visual.')}
        pixels = torch.from_numpy((image - np.array(MEAN)) / np.array(STD))
        patches = pixels.view(GRID, PATCH, GRID, PATCH, 3)
        x = torch.einsum('ypxqc,ocpq->yxo', patches, w['conv1.weight']).flatten(0, 1)
        x = torch.cat([w['class_embedding'][None], x]) + w['positional_embedding']
        x = layer_norm(x, w, 'ln_pre')
        *first, last = [Block(w, f'transformer.resblocks.{i}.') for i in range(BLOCKS)]
        for block in first:
            x = block.run(x)
        return F.normalize(layer_norm(self.last_block(last, x), w, 'ln_post') @ w['proj'], dim=1)

    def embed(self, name):
        """Unit-length embedding [c] of a class name in the templates."""
        later = torch.full((40, 40), -torch.inf, dtype=torch.double).triu(1)
        embeddings = []
        for template in TEMPLATES:
            ids = CLIPTokenizer().tokenize(template.format(name), 40)
            x = self.w['token_embedding.weight'][ids[0]] + self.w['positional_embedding']
            for i in range(TEXT_BLOCKS):
                x = Block(self.w, f'transformer.resblocks.{i}.').run(x, added=later)
            end = layer_norm(x[int(ids.argmax())], self.w, 'ln_final')
            embeddings.append(F.normalize(end @ self.w['text_projection'], dim=0))
        return F.normalize(torch.stack(embeddings).mean(dim=0), dim=0)

    def label_map(self, image, embeddings):
        """Labels [64, 64]: 0 where no class reaches the background's score."""
        scores = 1 / (1 + (-(SCALE * self.dense(image) @ embeddings.T + BIAS)).exp())
        planes = scores.T.view(1, len(embeddings), GRID, GRID)
        planes = F.interpolate(planes, image.shape[:2], mode='bilinear', align_corners=False)[0]
        best, label = planes.max(dim=0)
        return torch.where(best > BACKGROUND, label + 1, 0).numpy()

    def miou(self, world):
        """Mean IoU over the classes that occur, background included, in percent."""
        embeddings = torch.stack([self.embed(noun) for noun in NOUNS])
        images, labels = zip(*pictures(world), strict=True)
        found = np.stack([self.label_map(image, embeddings) for image in images])
        truth = np.stack(labels)
        ious = []
        for label in range(len(NOUNS) + 1):
            either = ((found == label) | (truth == label)).sum()
            if either:
                ious.append(((found == label) & (truth == label)).sum() / either)
        return 100 * np.mean(ious)

    def upsampled(self, image):
        """Features [c, 32, 32]: every patch's, four times in both directions."""
        dense = self.dense(image).T.view(-1, GRID, GRID)
        return dense.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
