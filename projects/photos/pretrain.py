"""Teaches the head of EfficientNetMiniLM where words lie among image features.

python projects/photos/pretrain.py --shards ../shared/data/flickr8k/train-*.tar

Both towers stay frozen, so photographs, captions and names pass them once; what they say is kept in
the work folder, and so is a checkpoint every 100 steps: a killed run goes on where it was. Three
losses: captions against photographs, ImageNet's names against the rows of its classifier, nouns of
captions against cells.
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
from projects.photos.backbone import EfficientNetMiniLM
from projects.photos.name_table import centred_rows, shipped_names
from projects.photos.pretraining_data import (
    GRID,
    encode_sentences,
    encode_shards,
    half_precision,
    noun_labels,
)

STEPS, PHOTOS, NAMES, NOUNS, NOUN_PHOTOS = 400, 512, 128, 128, 48
SHARES = (1.0, 0.3, 0.3)  # of the losses: captions, names, nouns
LEARNING_RATE, WEIGHT_DECAY, DROPOUT, HEAD_WIDTH = 2e-3, 0.05, 0.4, 1024
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
class Lessons:
    """What the head learns from; c channels, w of sentences.

    Attributes:
        cells (Tensor): Mean-free features of photographs [n, GRID * GRID, c].
        captions (Tensor): Their captions' sentence embeddings [n, k, w].
        rows (Tensor): Unit embeddings of what ImageNet's names stand for [r, c].
        overlap (Tensor): Which of them share a row of the classifier, bool [r, r].
        names (Tensor): Sentence embeddings of the names, by template [t, m, w].
        row_of_name (Tensor): Their place in ``rows`` [m].
        nouns (Tensor): Sentence embeddings of nouns, by template [t, v, w].
        named (Tensor): How many captions of a photograph name a noun [n, v].
    """

    cells: Tensor
    captions: Tensor
    rows: Tensor
    overlap: Tensor
    names: Tensor
    row_of_name: Tensor
    nouns: Tensor
    named: Tensor


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


def name_loss(head: nn.Module, lessons: Lessons, scale: Tensor) -> Tensor:
    """Names against all rows: those that share a class with a name's own are no negatives."""
    names = torch.randint(0, len(lessons.row_of_name), (NAMES,))
    template = torch.randint(0, len(lessons.names), (NAMES,))
    own = lessons.row_of_name[names]
    texts = embed(head, lessons.names[template, names])
    others = lessons.overlap[own].scatter(1, own[:, None], False)
    cosines = texts @ lessons.rows.T
    contrast = F.cross_entropy((scale * cosines).masked_fill(others, -torch.inf), own)
    return contrast / 2 + 4 * (1 - cosines.gather(1, own[:, None]).mean())


def noun_loss(head: nn.Module, lessons: Lessons, scale: Tensor) -> Tensor:
    """Nouns of captions against cells: a photograph shows a noun where its cells show it most.

    A noun's photographs are contrasted with others, and a photograph's nouns with other nouns, the
    frequent ones handicapped by the logarithm of how many photographs they have.
    """
    photos = torch.randperm(len(lessons.cells))[:NOUN_PHOTOS]
    nouns = torch.randperm(lessons.nouns.shape[1])[:NOUNS]
    template = torch.randint(0, len(lessons.nouns), (len(nouns),))
    texts = embed(head, lessons.nouns[template, nouns])
    cells = l2_normalize(lessons.cells[photos].float())
    logits = (scale * cells @ texts.T).logsumexp(dim=1) - math.log(cells.shape[1])
    named = lessons.named[photos][:, nouns]
    frequency = (lessons.named[:, nouns] > 0).float().mean(dim=0).log()
    return (shared_entropy(logits.T, named.T) + shared_entropy(logits + frequency, named)) / 2


def shared_entropy(logits: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy with the share of every positive; rows without any do not count."""
    any_positive = weights.sum(dim=1) > 0
    logits, weights = logits[any_positive], weights[any_positive]
    return F.cross_entropy(logits, weights / weights.sum(dim=1, keepdim=True))


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
        cells=encoded.cells - backbone.feature_mean.detach().half(),
        captions=encoded.sentences,
        rows=l2_normalize(beneath @ centred_rows(backbone.visual.class_weights)),
        overlap=beneath @ beneath.T > 0,
        names=in_templates('names', [*table], NAME_TEMPLATES),
        row_of_name=of_name,
        nouns=in_templates('nouns', nouns, NOUN_TEMPLATES),
        named=named,
    )


def train(backbone: EfficientNetMiniLM, lessons: Lessons, checkpoint: Path, steps: int) -> None:
    """Teach the backbone's head, from ``checkpoint`` on where there is one.

    Every step draws by its own seed, so that a run that was killed ends as one that was not.
    """
    first, _, last = backbone.text_head
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
        state = torch.load(checkpoint, weights_only=True)
        done = state['done']
        head.load_state_dict(state['head'])
        scales.data = state['scales']
        optimizer.load_state_dict(state['optimizer'])
        schedule.load_state_dict(state['schedule'])
    else:
        # sentences are of unit length: their entries are small, and GELU shall bend
        torch.manual_seed(0)
        nn.init.normal_(first.weight, std=1.5)
        nn.init.normal_(last.weight, std=last.in_features**-0.5)
    started, means = time.time(), torch.zeros(3)
    for step in range(done, steps):
        torch.manual_seed(step)
        with half_precision():
            factors = scales.clamp(max=math.log(100.0)).exp()
            losses = torch.stack(
                [
                    loss(head, lessons, factor).float()
                    for loss, factor in zip(
                        (caption_loss, name_loss, noun_loss), factors, strict=True
                    )
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
    backbone.logit_scale.data = scales[0].detach()


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
    backbone.text_head.requires_grad_(True)
    train(backbone, lessons, args.work_dir / 'head.pth', args.steps)
    learnt = {name: value.half().contiguous() for name, value in backbone.learnt().items()}
    note = {
        'format': 'pt',
        'head_width': str(HEAD_WIDTH),
        'command': f'make pretrain-photos, {args.steps} steps',
        'trained on': TRAINED_ON,
        'machine': f'{os.cpu_count()} cores, torch {torch.__version__}',
        'minutes of the last run': f'{(time.time() - started) / 60:.0f}',
    }
    with atomic_write(args.out) as unfinished:
        save_file(learnt, unfinished, note)
    print(f'{json.dumps(note, indent=2)}\n{args.out}: {args.out.stat().st_size / 1e6:.1f} MB')


if __name__ == '__main__':
    main()
