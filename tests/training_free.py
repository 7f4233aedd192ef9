"""Training-free methods on a few images of the shapes world: by config, and by plain formulas.

CLIP's towers, which parity shows, are ours. The last block is written out: it distinguishes the
methods; so are labels from cosines, and the IoU by counting, without mmseg.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from tiny_configs import PROJECTS

from code_mm.registry import MODELS
from code_mm.vocabulary import EVALUATION_TEMPLATES
from projects.dense_clip import NeighbourhoodAttention
from projects.shapes_world import NOUNS

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
GRID, HEADS, HEAD_WIDTH = 8, 2, 64
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


def projections(block, x):
    """Queries, keys and values of tokens [l, c], each [heads, l, d]."""
    rows = F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias)
    return rows.view(len(x), 3, HEADS, HEAD_WIDTH).permute(1, 2, 0, 3)


def output(block, weights, value):
    return block.attn.out_proj(torch.einsum('hij,hjd->ihd', weights, value).flatten(1))


def feed_forward(block, x):
    return (x + block.mlp(block.ln_2(x)))[1:]


def attention(a, b, added=0.0):
    """Attention weights softmax(a b^T / sqrt(d) + added) [heads, l, l]."""
    return torch.softmax(torch.einsum('hid,hjd->hij', a, b) / HEAD_WIDTH**0.5 + added, dim=-1)


def maskclip(block, x):
    """Attention weights are the identity."""
    _, _, value = projections(block, x)
    identity = torch.eye(len(x), dtype=x.dtype).expand(len(value), -1, -1)
    return feed_forward(block, x + output(block, identity, value))


def sclip(block, x):
    """Queries attend to queries and keys to keys; a sum, not a mean."""
    query, key, value = projections(block, x)
    weights = attention(query, query) + attention(key, key)
    return feed_forward(block, x + output(block, weights, value))


def clearclip(block, x):
    """Queries attend to queries; nothing is added to what they gather."""
    query, _, value = projections(block, x)
    return output(block, attention(query, query), value)[1:]


def naclip(block, x):
    """Keys attend to keys, more so to near ones; nothing is added to what they gather."""
    _, key, value = projections(block, x)
    gaussian = F.pad(NeighbourhoodAttention(std=5.0).patch_gaussian((GRID, GRID)), (1, 0, 1, 0))
    return output(block, attention(key, key, gaussian.to(x.dtype)), value)[1:]


class PlainMethod:
    """CLIP with its last block replaced by ``last_block(block, tokens) -> patches [64, c]``."""

    def __init__(self, last_block, background=0.4):
        self.last_block, self.background = last_block, background
        config = Config.fromfile(PROJECTS / 'shapes_world/configs/maskclip_shapes-hard.py')
        self.clip = MODELS.build(config.model.backbone)
        self.clip.init_weights()
        self.clip.double().eval()

    def normalise(self, image):
        return torch.from_numpy((image - np.array(MEAN)) / np.array(STD))

    def dense(self, image):
        """Unit-length features [64, c] of a RGB image [64, 64, 3] in 0 ... 255."""
        visual = self.clip.visual
        trunk = self.clip.trunk(self.normalise(image).permute(2, 0, 1)[None])
        tokens = torch.cat([trunk.class_token[0], trunk.tokens[0]])
        features = self.last_block(visual.transformer.resblocks[-1], tokens)
        return F.normalize(visual.ln_post(features) @ visual.proj, dim=1)

    def embed(self, name):
        """Unit-length embedding [c] of a class name in the templates."""
        ids = self.clip.tokenize([template.format(name) for template in EVALUATION_TEMPLATES])
        return F.normalize(F.normalize(self.clip.encode_text(ids), dim=1).mean(dim=0), dim=0)

    def label_map(self, image, embeddings):
        """Labels [64, 64]: 0 where no class reaches the background's score."""
        scores = torch.sigmoid(SCALE * self.dense(image) @ embeddings.T + BIAS)
        planes = scores.T.view(1, len(embeddings), GRID, GRID)
        planes = F.interpolate(planes, image.shape[:2], mode='bilinear', align_corners=False)[0]
        best, label = planes.max(dim=0)
        return torch.where(best > self.background, label + 1, 0).numpy()

    @torch.no_grad()
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
