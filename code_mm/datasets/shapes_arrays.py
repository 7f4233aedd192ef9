"""Samples of a shapes world in memory."""

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
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log
from mmseg.utils import get_predefined_templates
from torch import Tensor

from code_mm.tokenizers import CLIPTokenizer

from .shapes_world import ShapesWorld

_CHUNK = 500  # samples per task of the making processes
_PLAIN_TEMPLATES = ('{}', 'a {}.', 'the {}.')


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
        chunks = [make(start) for start in starts]
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
        (folder / 'texts.json').write_text(json.dumps(texts))  # last: it says all is there
    barrier()
    captions, nouns = json.loads((folder / 'texts.json').read_text())
    return np.load(folder / 'images.npy', mmap_mode='r'), captions, nouns


class ShapesArrays:
    """Samples of a shapes world kept in memory as arrays, with their captions tokenised.

    Args:
        world: Arguments of :class:`ShapesWorld`.
        count: Number of samples.
        split: Name of the split.
        context_length: Text positions.
        noun_templates: Replace the caption by the nouns of the image, each alone in a template
            that the whole batch shares. Images without objects have their background's noun.
        cache_dir: Folder that keeps the arrays between runs (a new one after a change of the
            generator's code); None makes them anew in every process.
        workers: Processes that make the samples.

    Attributes:
        images: uint8 RGB [count, H, W, 3].
        captions: Captions as the generator wrote them.
        nouns: Nouns of each image.
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
        self.noun_templates = noun_templates
        if noun_templates:
            self._tokenize_nouns(context_length)
        else:
            self._ids = CLIPTokenizer().tokenize(self.captions, context_length)

    def __len__(self) -> int:
        return len(self.images)

    def _tokenize_nouns(self, context_length: int) -> None:
        names = sorted({noun for nouns in self.nouns for noun in nouns})
        most = max(map(len, self.nouns))
        padded = [[*nouns, *nouns[:1] * (most - len(nouns))] for nouns in self.nouns]
        self._noun_rows = torch.tensor([[names.index(n) for n in nouns] for nouns in padded])
        plain, imagenet = (
            torch.stack(
                [
                    CLIPTokenizer().tokenize([t.format(n) for n in names], context_length)
                    for t in templates
                ]
            )
            for templates in (_PLAIN_TEMPLATES, get_predefined_templates('imagenet'))
        )
        self._template_ids = {False: plain, True: imagenet}

    def positive_ids(self, rows: np.ndarray, template: tuple) -> Tensor:
        """Token ids of all texts that fit each of some samples.

        Args:
            rows: Indices of the samples, [b].
            template: Whether to take an ImageNet template, and a number in [0, 1) that chooses it.

        Returns:
            int64 [b, p, l]: the caption alone, or every noun of the image in the template; an
            image with fewer than p nouns repeats its first one.
        """
        if not self.noun_templates:
            return self._ids[torch.from_numpy(rows)][:, None]
        templates = self._template_ids[bool(template[0])]
        return templates[int(template[1] * len(templates))][self._noun_rows[rows]]
