"""Batches of the shapes world for pre-training a CLIP, with a curriculum."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import barrier, get_world_size, is_main_process
from mmengine.logging import print_log
from mmengine.registry import FUNCTIONS
from mmseg.structures import SegDataSample
from mmseg.utils import get_predefined_templates
from torch.utils.data import Dataset

from code_mm.atomic_write import write_text
from code_mm.registry import DATASETS
from code_mm.tokenizers import CLIPTokenizer

from .world import ShapesWorld

_CHUNK = 500  # samples per task of the making processes
_PLAIN_TEMPLATES = ('{}', 'a {}.', 'the {}.')
_SHIFT = 2  # largest augmentation shift in pixels


@FUNCTIONS.register_module()
def first_item(items: list):
    """Collate a loader of batch size 1 whose dataset gives whole batches."""
    return items[0]


@DATASETS.register_module()
class CLIPPretrainBatches(Dataset):
    """Whole batches; item ``i`` is the batch of iteration ``i``, a function of (seed, i).

    With several processes the batch of an iteration is dealt out among them, so that D processes
    see the same data as one.

    Use it with ``batch_size=1``, ``sampler=dict(type='DefaultSampler', shuffle=False)`` and
    ``collate_fn=dict(type='first_item')``.

    Args:
        sources (dict): Name -> dict(world=..., count=..., noun_templates=...), see
            :class:`ShapesArrays`.
        stages (list): Curriculum: list of dict(until=iteration, batches=[...]), ``until`` exclusive
            and rising. ``batches`` is repeated in a cycle; each entry is a dict of source -> share.
        batch_size (int): Samples per iteration, of all processes together.
        patch_size, image_size: Of the CLIP, to place crops on its position grid.
        context_length (int): Text positions.
        split (str): Split of the world that is read.
        augment (bool): Mirror (unless the caption says "left"), shift, and change brightness and
            contrast.
        ordered (bool): Walk through the one source in order, for evaluation; needs one stage and
            source.
        template_share (float): Share of noun batches written with one of ImageNet's templates.
        seed (int): Seed of the batches.
        cache_dir, workers: See :class:`ShapesArrays`.

    Raises:
        ValueError: Stages that do not rise or name no source.
    """

    def __init__(
        self,
        sources: dict,
        stages: list,
        batch_size: int = 128,
        patch_size: int = 8,
        image_size: int = 64,
        context_length: int = 77,
        split: str = 'train',
        augment: bool = True,
        ordered: bool = False,
        template_share: float = 0.4,
        seed: int = 0,
        cache_dir: str | None = None,
        workers: int = 2,
    ) -> None:
        ends = [stage['until'] for stage in stages]
        if not ends or ends != sorted(set(ends)):
            raise ValueError(f'expected rising `until` of the stages, but got {ends}')
        named = {name for stage in stages for batch in stage['batches'] for name in batch}
        if not named <= set(sources):
            raise ValueError(
                f'expected stages of the sources {sorted(sources)}, but got {sorted(named)}'
            )
        self.processes = 1 if ordered else get_world_size()
        if batch_size % self.processes:
            raise ValueError(
                f'expected a batch_size that {self.processes} processes divide, '
                f'but got {batch_size}'
            )
        self.stages, self.batch_size, self.seed = stages, batch_size, seed
        self.patch_size, self.image_size = patch_size, image_size
        self.augment, self.ordered, self.template_share = augment, ordered, template_share
        self.metainfo = {}
        shared = dict(
            split=split, context_length=context_length, cache_dir=cache_dir, workers=workers
        )
        self.sources = {name: ShapesArrays(**shared, **sources[name]) for name in sorted(named)}
        self.length = ends[-1] * self.processes
        if ordered:
            (only,) = self.sources.values()
            self.length = -(-len(only.images) // batch_size)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < self.length:
            raise IndexError(index)
        iteration, part = divmod(index, self.processes)
        rng = np.random.default_rng((self.seed, iteration))
        if self.ordered:
            ((name, source),) = self.sources.items()
            rows = np.arange(len(source.images))[index * self.batch_size :][: self.batch_size]
            picks = [(name, rows)]
        else:
            picks = self._pick(iteration, rng)
        template = (rng.random() < self.template_share, rng.random())
        # where the images lie on the position grid
        side = self.sources[picks[0][0]].images.shape[1]
        free = self.image_size // self.patch_size - side // self.patch_size
        window = tuple(rng.integers(0, free + 1, 2).tolist())
        mine = slice(part, None, self.processes)
        images, samples = [], []
        for name, rows in picks:
            source = self.sources[name]
            pixels = source.images[rows]
            if self.augment:
                pixels = _augment(pixels, source.mirrors[rows], rng)
            images.append(pixels[mine])
            samples += source.samples(rows[mine], template, window)
        bgr = np.concatenate(images)[..., ::-1].transpose(0, 3, 1, 2)
        return {'inputs': torch.from_numpy(np.ascontiguousarray(bgr)), 'data_samples': samples}

    def _pick(self, index: int, rng: np.random.Generator) -> list:
        """(source, rows) of the batch of an iteration."""
        stage = next((s for s in self.stages if index < s['until']), self.stages[-1])
        shares = stage['batches'][index % len(stage['batches'])]
        names = list(shares)
        weights = np.array([shares[n] for n in names], float)
        # every source is dealt out evenly, so that all processes have equally many samples
        drawn = rng.multinomial(self.batch_size // self.processes, weights / weights.sum())
        return [
            (name, np.sort(rng.integers(0, len(self.sources[name].images), count * self.processes)))
            for name, count in zip(names, drawn, strict=True)
            if count
        ]


def _augment(images: np.ndarray, mirrors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirrored, where that may be, shifted and brightened copies of images [b, H, W, 3]."""
    count, size = images.shape[:2]
    flip = mirrors & (rng.random(count) < 0.5)
    shift = rng.integers(-_SHIFT, _SHIFT + 1, (count, 2))
    gain = rng.uniform(0.8, 1.2, (count, 1, 1, 3)).astype(np.float32)
    offset = rng.uniform(-20, 20, (count, 1, 1, 1)).astype(np.float32)
    rows = (np.arange(size) + shift[:, :1]).clip(0, size - 1)
    columns = (np.arange(size) + shift[:, 1:]).clip(0, size - 1)
    columns = np.where(flip[:, None], columns[:, ::-1], columns)
    batch = np.arange(count)[:, None, None]
    images = images[batch, rows[:, :, None], columns[:, None]].astype(np.float32)
    return np.clip((images - 128) * gain + (128 + offset), 0, 255).astype(np.uint8)


def _make_chunk(start: int, count: int, world: ShapesWorld, split: str) -> tuple:
    samples = [world.sample(split, i) for i in range(start, min(start + _CHUNK, count))]
    nouns = [list(s.object_nouns) or [s.scene.background] for s in samples]
    return np.stack([s.image for s in samples]), [s.caption.text for s in samples], nouns


def _make(world: dict, count: int, split: str, workers: int) -> tuple:
    """Images uint8 RGB [count, H, W, 3], captions, and the nouns of each image."""
    print_log(f'making {count} samples of {world}', logger='current')
    make = partial(_make_chunk, count=count, world=ShapesWorld(**world), split=split)
    starts = range(0, count, _CHUNK)
    if workers > 1:
        # not forked: the runner may have threads by now
        context = multiprocessing.get_context('spawn')
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            chunks = list(pool.map(make, starts))
    else:
        chunks = map(make, starts)
    images, captions, nouns = zip(*chunks, strict=True)
    return np.concatenate(images), list(chain(*captions)), list(chain(*nouns))


def _make_or_read(world: dict, count: int, split: str, workers: int, cache_dir: str) -> tuple:
    """As :func:`_make`, from a folder that the main process fills on first use."""
    key = json.dumps([world, count, split], sort_keys=True)
    folder = Path(cache_dir, hashlib.sha256(key.encode()).hexdigest()[:16])
    if is_main_process() and not (folder / 'texts.json').is_file():
        images, *texts = _make(world, count, split, workers)
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / 'images.npy', images)
        write_text(folder / 'texts.json', json.dumps(texts))  # last: it says all is there
    barrier()
    captions, nouns = json.loads((folder / 'texts.json').read_text())
    return np.load(folder / 'images.npy', mmap_mode='r'), captions, nouns


class ShapesArrays:
    """Samples of a shapes world kept in memory as arrays, with their texts tokenised.

    Args:
        world (dict): Arguments of :class:`ShapesWorld`.
        count (int): Number of samples.
        split (str): Name of the split.
        context_length (int): Text positions.
        noun_templates (bool): Replace the caption by the nouns of the image, each alone in a
            template that the whole batch shares. Images without objects have their background's
            noun.
        cache_dir (str, optional): Folder that keeps the arrays between runs; remove it after a
            change of the generator's code. None makes them anew in every process.
        workers (int): Processes that make the samples.

    Attributes:
        images: uint8 RGB [count, H, W, 3].
        mirrors: Boolean [count], whether the caption stays true in the mirror.
    """

    def __init__(
        self,
        world: dict,
        count: int,
        split: str,
        context_length: int,
        noun_templates: bool = False,
        cache_dir: str | None = None,
        workers: int = 2,
    ) -> None:
        make = partial(_make_or_read, cache_dir=cache_dir) if cache_dir else _make
        self.images, self.captions, self.nouns = make(world, count, split, workers)
        self.mirrors = np.array(['left' not in text.split() for text in self.captions])
        tokenize = partial(CLIPTokenizer().tokenize, length=context_length)
        self.noun_templates = noun_templates
        if not noun_templates:
            self._ids = tokenize(self.captions)
            return
        names = sorted({*chain(*self.nouns)})
        most = max(map(len, self.nouns))
        padded = [[*nouns, *nouns[:1] * (most - len(nouns))] for nouns in self.nouns]
        self._noun_rows = torch.tensor([[names.index(n) for n in nouns] for nouns in padded])
        self._template_ids = [
            torch.stack([tokenize([t.format(n) for n in names]) for t in templates])
            for templates in (_PLAIN_TEMPLATES, get_predefined_templates('imagenet'))
        ]

    def samples(self, rows: np.ndarray, template: tuple, window: tuple) -> list[SegDataSample]:
        """Samples with ``positive_ids`` int64 [p, l], the texts that fit the image.

        They are the caption alone, or every noun of the image in the template; an image with fewer
        than p nouns repeats its first one.

        Args:
            rows (ndarray): Indices of the samples, [b].
            template (tuple): Whether to take an ImageNet template, and a number in [0, 1) that
                chooses it.
            window (tuple): First (row, column) of the position grid.
        """
        if self.noun_templates:
            templates = self._template_ids[template[0]]
            ids = templates[int(template[1] * len(templates))][self._noun_rows[rows]]
        else:
            ids = self._ids[torch.from_numpy(rows)][:, None]
        samples = []
        for row, positive_ids in zip(rows, ids, strict=True):
            meta = dict(
                caption=self.captions[row], object_nouns=self.nouns[row], position_window=window
            )
            samples.append(SegDataSample(metainfo=meta))
            samples[-1].positive_ids = positive_ids
        return samples
