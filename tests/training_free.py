"""Training-free methods on a few images of the shapes world: by config, and by plain formulas.

The plain side uses neither our models nor mmseg: weights from the file, attention written out,
labels from cosines, IoU by counting. What distinguishes the methods, the last block, is handed in.
"""

import math
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from safetensors.torch import load_file
from tiny_configs import PROJECTS

from code_mm.tokenizers import CLIPTokenizer
from projects.shapes_world import NOUNS

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
SCALE, BIAS = 20.0, -5.0


def build_config(name, world, work_dir, **keys):
    """A config below projects/ on that world, with other keys."""
    cfg = Config.fromfile(PROJECTS / name)
    loaders = ['test_dataloader']
    if 'train_dataloader' in cfg:
        loaders += ['train_dataloader', 'val_dataloader']
        keys = {'train_dataloader.batch_size': 4, **keys}
    for loader in loaders:
        keys[f'{loader}.num_workers'] = 0
        keys[f'{loader}.persistent_workers'] = False
        keys[f'{loader}.dataset.data_root'] = str(world)
    cfg.merge_from_dict(keys)
    cfg.work_dir, cfg.experiment_name = str(work_dir), str(work_dir).replace('/', '_')
    return cfg


def pictures(world):
    """Pairs of a RGB image [64, 64, 3] and its label map [64, 64]."""
    for path in sorted((Path(world) / 'images' / 'validation').glob('*.jpg')):
        truth = Path(world) / 'annotations' / 'validation' / f'{path.stem}.png'
        yield cv2.imread(str(path))[..., ::-1].astype(float), cv2.imread(str(truth), -1)


class Weights:
    """Weights below a prefix, and the steps that readings are made of."""

    def __init__(self, weights, prefix):
        self.w = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}

    def norm(self, x, name):
        return F.layer_norm(x, x.shape[-1:], self.w[f'{name}.weight'], self.w[f'{name}.bias'])

    def linear(self, x, name):
        return x @ self.w[f'{name}weight'].T + self.w[f'{name}bias']

    def projections(self, x):
        """Queries, keys and values of tokens [l, c], each [heads, l, d]."""
        rows = self.linear(self.norm(x, 'ln_1'), 'attn.in_proj_')
        return rows.view(len(x), 3, HEADS, HEAD_WIDTH).permute(1, 2, 0, 3)

    def output(self, weights, value):
        heads = torch.einsum('hij,hjd->ihd', weights, value).flatten(1)
        return self.linear(heads, 'attn.out_proj.')

    def feed_forward(self, x):
        inner = self.linear(self.norm(x, 'ln_2'), 'mlp.c_fc.')
        return self.linear(inner * torch.sigmoid(1.702 * inner), 'mlp.c_proj.')

    def run(self, x, added=0.0):
        """The block as CLIP runs it."""
        query, key, value = self.projections(x)
        x = x + self.output(attention(query, key, added), value)
        return x + self.feed_forward(x)


def attention(a, b, added=0.0):
    """Attention weights softmax(a b^T / sqrt(d) + added) [heads, l, l]."""
    return torch.softmax(torch.einsum('hid,hjd->hij', a, b) / HEAD_WIDTH**0.5 + added, dim=-1)


def maskclip(block, x):
    """Attention weights are the identity."""
    _, _, value = block.projections(x)
    x = x + block.output(torch.eye(len(x), dtype=x.dtype).expand(len(value), -1, -1), value)
    return (x + block.feed_forward(x))[1:]


def sclip(block, x):
    """Queries attend to queries and keys to keys; a sum, not a mean."""
    query, key, value = block.projections(x)
    x = x + block.output(attention(query, query) + attention(key, key), value)
    return (x + block.feed_forward(x))[1:]


def clearclip(block, x):
    """Queries attend to queries; nothing is added to what they gather."""
    query, _, value = block.projections(x)
    return block.output(attention(query, query), value)[1:]


def naclip(block, x):
    """Keys attend to keys, more so to near ones; nothing is added to what they gather."""
    _, key, value = block.projections(x)
    gaussian = torch.zeros(65, 65, dtype=x.dtype)
    for i in range(64):
        for j in range(64):
            squared = (i // 8 - j // 8) ** 2 + (i % 8 - j % 8) ** 2
            gaussian[1 + i, 1 + j] = math.exp(-squared / (2 * 5.0**2))
    return block.output(attention(key, key, gaussian), value)[1:]


class PlainMethod:
    """CLIP with its last block replaced by ``last_block(block, tokens) -> patches [64, c]``."""

    def __init__(self, last_block, background=0.4):
        self.last_block, self.background = last_block, background
        weights = {name: value.double() for name, value in load_file(WEIGHTS).items()}
        self.visual, self.text = Weights(weights, 'visual.'), Weights(weights, '')

    def normalise(self, image):
        return torch.from_numpy((image - np.array(MEAN)) / np.array(STD))

    def dense(self, image):
        """Unit-length features [64, c] of a RGB image [64, 64, 3] in 0 ... 255."""
        visual, w = self.visual, self.visual.w
        patches = self.normalise(image).view(GRID, PATCH, GRID, PATCH, 3)
        x = torch.einsum('ypxqc,ocpq->yxo', patches, w['conv1.weight']).flatten(0, 1)
        x = torch.cat([w['class_embedding'][None], x]) + w['positional_embedding']
        x = visual.norm(x, 'ln_pre')
        *first, last = [Weights(w, f'transformer.resblocks.{i}.') for i in range(BLOCKS)]
        for block in first:
            x = block.run(x)
        return F.normalize(visual.norm(self.last_block(last, x), 'ln_post') @ w['proj'], dim=1)

    def embed(self, name):
        """Unit-length embedding [c] of a class name in the templates."""
        w = self.text.w
        later = torch.full((40, 40), -torch.inf, dtype=torch.double).triu(1)
        embeddings = []
        for template in TEMPLATES:
            ids = CLIPTokenizer().tokenize(template.format(name), 40)
            x = w['token_embedding.weight'][ids[0]] + w['positional_embedding']
            for i in range(TEXT_BLOCKS):
                x = Weights(w, f'transformer.resblocks.{i}.').run(x, added=later)
            end = self.text.norm(x[int(ids.argmax())], 'ln_final')
            embeddings.append(F.normalize(end @ w['text_projection'], dim=0))
        return F.normalize(torch.stack(embeddings).mean(dim=0), dim=0)

    def label_map(self, image, embeddings):
        """Labels [64, 64]: 0 where no class reaches the background's score."""
        scores = torch.sigmoid(SCALE * self.dense(image) @ embeddings.T + BIAS)
        planes = scores.T.view(1, len(embeddings), GRID, GRID)
        planes = F.interpolate(planes, image.shape[:2], mode='bilinear', align_corners=False)[0]
        best, label = planes.max(dim=0)
        return torch.where(best > self.background, label + 1, 0).numpy()

    def miou(self, world):
        """Mean IoU over the classes that occur, background included, in percent."""
        embeddings = torch.stack([self.embed(noun) for noun in NOUNS])
        images, labels = zip(*pictures(world), strict=True)
        found = np.stack([self.label_map(image, embeddings) for image in images])
        truth = np.stack(labels)
        present = [n for n in range(len(NOUNS) + 1) if ((found == n) | (truth == n)).any()]
        both = [((found == n) & (truth == n)).sum() for n in present]
        either = [((found == n) | (truth == n)).sum() for n in present]
        return 100 * np.mean(np.divide(both, either))
