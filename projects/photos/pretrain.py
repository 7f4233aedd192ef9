"""Teaches the head of EfficientNetMiniLM where words lie among image features.

python projects/photos/pretrain.py --shards ../shared/data/flickr8k/train-*.tar

Both towers stay frozen, so photographs, captions and names pass them once; what they say is kept in
the work folder, and so is a checkpoint every 100 steps: a killed run goes on where it was. Two
heads learn, one after the other, and are joined. There are three losses: captions against
photographs, ImageNet's names against the rows of its classifier, and nouns of captions against rows
of a classifier that tells from a photograph which of them it shows.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from code_mm.atomic_write import atomic_write
from code_mm.ops import l2_normalize
from code_mm.registry import MODELS
from code_mm.weights.files import read_checkpoint
from projects.photos.backbone import EfficientNetMiniLM, text_head
from projects.photos.name_table import centred_rows, shipped_names
from projects.photos.pretraining_data import (
    GRID,
    encode_sentences,
    encode_shards,
    half_precision,
    noun_labels,
)

STEPS, PHOTOS, NAMES, ROW_STEPS = 400, 512, 256, 200
SHARES = (1.0, 0.7, 0.7)  # of the losses: captions, names, nouns
LEARNING_RATE, WEIGHT_DECAY, DROPOUT, HEAD_WIDTH = 2e-3, 0.05, 0.4, 2048
HEADS = 2
"""How many heads learn, each by its own draws; what ships is their mean."""

NAME_TEMPLATES = ('{}', 'a {}', 'a photo of a {}')
NOUN_TEMPLATES = ('{}', 'a {}', 'the {} in the photo')
EVERY = 100
"""Steps between checkpoints."""

WEIGHTS = Path(__file__).parent / 'weights' / 'photos_efficientnet-lite2.safetensors'
TRAINED_ON = (
    'Flickr8k, 6000 training photographs and their 30000 captions (Hodosh et al., JAIR 2013; for '
    "research, the photographs keep their owners' terms and are not contained); class rows of "
    'EfficientNet-Lite2 (Apache-2.0); names of WordNet 3.0 (its own free licence); sentence '
    'embeddings of all-MiniLM-L6-v2 (Apache-2.0)'
)


@dataclass(frozen=True)
class Names:
    """Names and where they lie.

    Attributes:
        texts (Tensor): Sentence embeddings of the names, by template [t, m, w].
        rows (Tensor): Unit embeddings of what names stand for [r, c].
        row_of_name (Tensor): Their place in ``rows`` [m].
        overlap (Tensor): Which rows stand for much the same, bool [r, r].
    """

    texts: Tensor
    rows: Tensor
    row_of_name: Tensor
    overlap: Tensor


@dataclass(frozen=True)
class Lessons:
    """What the head learns from; c channels, w of sentences.

    Attributes:
        cells (Tensor): Mean-free features of photographs [n, GRID * GRID, c].
        captions (Tensor): Their captions' sentence embeddings [n, k, w].
        names (Names): What ImageNet's classes and the words above them stand for.
        nouns (Names): What captions' nouns stand for.
    """

    cells: Tensor
    captions: Tensor
    names: Names
    nouns: Names


def caption_loss(head: nn.Module, lessons: Lessons, scale: Tensor) -> Tensor:
    """Symmetric InfoNCE of photographs, half the time a part, and mixtures of their captions."""
    photos = torch.randperm(len(lessons.cells))[:PHOTOS]
    cells = lessons.cells[photos].float().unflatten(1, (GRID, GRID))
    top, left = torch.randint(0, 2, (2,))
    part = cells if torch.rand(()) < 0.5 else cells[:, top : top + 3, left : left + 3]
    images = l2_normalize(part.mean(dim=(1, 2)))
    captions = lessons.captions[photos]
    shares = torch.distributions.Dirichlet(torch.ones(captions.shape[1])).sample((len(photos),))
    single = F.one_hot(shares.argmax(dim=1), captions.shape[1]).float()
    shares = torch.where(torch.rand(len(photos), 1) < 0.5, single, shares)
    texts = embed(head, torch.einsum('nk,nkw->nw', shares, captions))
    target = torch.arange(len(photos))
    logits = scale * texts @ images.T
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def name_loss(head: nn.Module, known: Names, scale: Tensor) -> Tensor:
    """Names against all rows: those that overlap a name's own are no negatives."""
    names = torch.randint(0, len(known.row_of_name), (NAMES,))
    template = torch.randint(0, len(known.texts), (NAMES,))
    own = known.row_of_name[names]
    texts = embed(head, known.texts[template, names])
    others = known.overlap[own].scatter(1, own[:, None], False)
    cosines = texts @ known.rows.T
    contrast = F.cross_entropy((scale * cosines).masked_fill(others, -torch.inf), own)
    return contrast / 2 + 4 * (1 - cosines.gather(1, own[:, None]).mean())


def noun_rows(photos: Tensor, shown: Tensor) -> Tensor:
    """Rows of a classifier that tells which nouns a photograph shows, by logistic regression.

    Args:
        photos (Tensor): Unit embeddings [n, c].
        shown (Tensor): Which nouns they show, bool [n, v].

    Returns:
        Unit embeddings of the nouns [v, c].
    """
    shown = shown.float()
    means = (shown.T @ photos) / shown.sum(dim=0)[:, None]
    rows = nn.Parameter(5 * l2_normalize(means - photos.mean(dim=0)))
    bias = nn.Parameter(shown.mean(dim=0).clamp(max=0.99).logit())
    groups = [dict(params=[rows], weight_decay=0.1), dict(params=[bias], weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, ROW_STEPS)
    torch.manual_seed(0)
    for _ in range(ROW_STEPS):
        batch = torch.randint(0, len(photos), (256,))
        logits = photos[batch] @ rows.T + bias
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(logits, shown[batch], reduction='sum').div(
            256
        ).backward()
        optimizer.step()
        schedule.step()
    return l2_normalize(rows.detach())


def embed(head: nn.Module, sentences: Tensor) -> Tensor:
    """Unit embeddings of sentence embeddings."""
    return l2_normalize(head(sentences))


def lessons_of(backbone: EfficientNetMiniLM, shards: list[str], folder: Path) -> Lessons:
    """Encode photographs, captions, names and nouns; sets the backbone's ``feature_mean``.

    What was encoded is kept in ``folder``: other shards need another.
    """
    encoded = encode_shards(backbone, shards, folder / 'features')
    backbone.feature_mean.data = encoded.cells.float().mean(dim=(0, 1))
    table = shipped_names().by_name
    known = sorted(set(table.values()))
    of_name = torch.tensor([known.index(rows) for rows in table.values()])
    beneath = torch.zeros(len(known), len(backbone.visual.class_weights))
    for place, rows in enumerate(known):
        beneath[place, list(rows)] = 1
    nouns, named = noun_labels(encoded.captions)
    cells = encoded.cells - backbone.feature_mean.detach().half()
    shown = (named > 0).float()
    together = shown.T @ shown
    fewer = together.diagonal().minimum(together.diagonal()[:, None])

    def in_templates(kind: str, words: list[str], templates: tuple[str, ...]) -> Tensor:
        file = folder / 'features' / f'{kind}.safetensors'
        if not file.exists():
            texts = [template.format(word) for template in templates for word in words]
            sentences = encode_sentences(backbone, texts).unflatten(0, (len(templates), -1))
            with atomic_write(file) as unfinished:
                save_file(dict(sentences=sentences), unfinished)
            print(f'{file}: {len(words)} {kind}', flush=True)
        return load_file(file)['sentences']

    return Lessons(
        cells=cells,
        captions=encoded.sentences,
        names=Names(
            texts=in_templates('names', [*table], NAME_TEMPLATES),
            rows=l2_normalize(beneath @ centred_rows(backbone.visual.class_weights)),
            row_of_name=of_name,
            overlap=beneath @ beneath.T > 0,
        ),
        nouns=Names(
            texts=in_templates('nouns', nouns, NOUN_TEMPLATES),
            rows=noun_rows(l2_normalize(cells.float().mean(dim=1)), shown),
            row_of_name=torch.arange(len(nouns)),
            overlap=together > 0.5 * fewer,
        ),
    )


def train(head: nn.Sequential, lessons: Lessons, checkpoint: Path, steps: int, seed: int) -> Tensor:
    """Teach a head, from ``checkpoint`` on where there is one; returns its logit scale's logarithm.

    Every step draws by its own seed, so that a run that was killed ends as one that was not.
    """
    first, _, last = head
    head = nn.Sequential(first, nn.GELU(), nn.Dropout(DROPOUT), last)
    scales = nn.Parameter(torch.full((3,), math.log(20.0)))
    weights = [first.weight, last.weight]
    groups = [
        dict(params=weights, weight_decay=WEIGHT_DECAY),
        dict(params=[first.bias, last.bias, scales], weight_decay=0.0),
    ]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps, pct_start=0.1)
    done = 0
    if checkpoint.exists():
        state = read_checkpoint(checkpoint)
        done = state['done']
        head.load_state_dict(state['head'])
        scales.data = state['scales']
        optimizer.load_state_dict(state['optimizer'])
        schedule.load_state_dict(state['schedule'])
    else:
        # sentences are of unit length: their entries are small, and GELU shall bend
        torch.manual_seed(seed)
        nn.init.normal_(first.weight, std=1.5)
        nn.init.normal_(last.weight, std=last.in_features**-0.5)
    started, means = time.time(), torch.zeros(3)
    for step in range(done, steps):
        torch.manual_seed(seed * steps + step)
        with half_precision():
            factors = scales.clamp(max=math.log(100.0)).exp()
            losses = torch.stack(
                [
                    caption_loss(head, lessons, factors[0]).float(),
                    name_loss(head, lessons.names, factors[1]).float(),
                    name_loss(head, lessons.nouns, factors[2]).float(),
                ]
            )
        optimizer.zero_grad()
        (losses * torch.tensor(SHARES)).sum().backward()
        optimizer.step()
        schedule.step()
        means += losses.detach() / EVERY
        if (step + 1) % EVERY == 0 or step + 1 == steps:
            state = dict(done=step + 1, head=head.state_dict(), scales=scales.detach())
            state |= dict(optimizer=optimizer.state_dict(), schedule=schedule.state_dict())
            with atomic_write(checkpoint) as unfinished:
                torch.save(state, unfinished)
            shown = ' '.join(f'{mean:.3f}' for mean in means)
            seconds = time.time() - started
            print(f'step {step + 1}/{steps}, losses {shown}, {seconds:.0f} s', flush=True)
            means.zero_()
    return scales[0].detach()


@torch.no_grad()
def joined(heads: list[nn.Sequential], sentences: Tensor) -> nn.Sequential:
    """One wide head: the mean of several, each divided by the mean length of its embeddings."""
    lengths = [head(sentences).norm(dim=-1).mean() * len(heads) for head in heads]
    firsts, lasts = [head[0] for head in heads], [head[2] for head in heads]
    width = sum(first.out_features for first in firsts)
    first, last = nn.Linear(firsts[0].in_features, width), nn.Linear(width, lasts[0].out_features)
    first.weight.copy_(torch.cat([one.weight for one in firsts]))
    first.bias.copy_(torch.cat([one.bias for one in firsts]))
    pairs = [*zip(lasts, lengths, strict=True)]
    last.weight.copy_(torch.cat([one.weight / length for one, length in pairs], dim=1))
    last.bias.copy_(sum(one.bias / length for one, length in pairs))
    return nn.Sequential(first, nn.GELU(), last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--shards', nargs='+', required=True, help='photographs with captions')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/pretrain_photos'))
    parser.add_argument('--out', type=Path, default=WEIGHTS)
    parser.add_argument('--steps', type=int, default=STEPS)
    args = parser.parse_args()
    started = time.time()
    backbone = MODELS.build(dict(type='EfficientNetMiniLM', head_width=HEAD_WIDTH))
    backbone.init_weights()
    lessons = lessons_of(backbone, args.shards, args.work_dir)
    heads = [text_head(backbone.text_width, HEAD_WIDTH // HEADS) for _ in range(HEADS)]
    scales = []
    for seed, head in enumerate(heads):
        scales.append(train(head, lessons, args.work_dir / f'head{seed}.pth', args.steps, seed))
    backbone.text_head = joined(heads, lessons.captions.flatten(0, 1)[::10])
    backbone.logit_scale.data = torch.stack(scales).mean()
    learnt = {name: value.half().contiguous() for name, value in backbone.learnt().items()}
    note = {
        'format': 'pt',
        'head_width': str(HEAD_WIDTH),
        'command': f'make pretrain-photos, {HEADS} x {args.steps} steps',
        'trained on': TRAINED_ON,
        'machine': f'{os.cpu_count()} cores, torch {torch.__version__}',
        'minutes of the last run': f'{(time.time() - started) / 60:.0f}',
    }
    with atomic_write(args.out) as unfinished:
        save_file(learnt, unfinished, note)
    print(f'{json.dumps(note, indent=2)}\n{args.out}: {args.out.stat().st_size / 1e6:.1f} MB')


if __name__ == '__main__':
    main()
