"""What the page asks of a model: within limits, one request at a time, and nothing twice."""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from check_classes import embedded_pairs
from limits import Limits
from mmengine.dataset import pseudo_collate
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from code_mm.apis import CoDeInferencer
from code_mm.apis.class_query import (
    DEFAULT_BACKGROUND_THRESHOLD,
    ClassQuery,
    make_query,
)
from code_mm.apis.input_images import ImagePipeline, InputImage, UnreadableImage
from code_mm.apis.results import Segmentation
from code_mm.datasets.transforms import LoadCaptionImage
from code_mm.structures.unusable_sample import UnusableSample
from code_mm.visualization import draw_co_decomposition
from code_mm.visualization.panels import panel_size, resize_image

MOST_CHARACTERS = 1000  # of a caption
LONGEST = 4  # times the shorter side, which has a fixed size: memory grows with the square
MOST_NOUNS = 6  # colours that the colour-blind can tell apart


@dataclass
class Found:
    """An image and its best class per pixel: all that threshold and background need."""

    name: str
    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    words: tuple[str, ...]
    best: np.ndarray
    """(H, W) float32, the score of the best class."""
    label: np.ndarray
    """(H, W) uint16, which of the words that is."""

    def at(self, threshold: float | None, longest: int | None = None) -> Segmentation:
        """What is found where a class must reach ``threshold``; None: every pixel gets a class.

        Equal to segmenting anew. ``longest`` bounds the picture's longer side in pixels.
        """
        image, best, label = self.image, self.best, self.label
        if longest is not None and max(label.shape) > longest:
            size = panel_size(image, longest)
            rows, columns = (
                np.linspace(0, side - 1, part).round().astype(int)
                for side, part in zip(label.shape, size, strict=True)
            )
            best, label = (plane[np.ix_(rows, columns)] for plane in (best, label))
            image = resize_image(image, size)
        labels = label.astype(np.int64)
        if threshold is not None:
            labels = np.where(best > threshold, labels + 1, 0)
        sample = SegDataSample()
        sample.pred_sem_seg = PixelData(data=torch.from_numpy(labels)[None])
        query = ClassQuery(self.words, threshold)
        return Segmentation(InputImage(self.name, image), image, sample, query)


@dataclass
class Answer:
    """Of a request: images, why others are none, and pairs of words that look alike."""

    found: list[Found] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    pairs: list[tuple[str, str, float]] = field(default_factory=list)


@dataclass
class Decomposition:
    """An image and its caption, and what belongs together in them (thesis Fig. 4.2)."""

    image: np.ndarray
    caption: str
    nouns: list[str]
    regions: np.ndarray
    """(k, H, W) in [0, 1], on the network's grid."""
    words: np.ndarray
    """(k, l) in [0, 1] over token positions."""
    tokenizer: object

    def draw(self, noun: str | None = None) -> np.ndarray:
        """The picture, RGB; with ``noun`` its region and words alone, in the same colour."""
        chosen = np.float32([noun in (None, one) for one in self.nouns])
        return draw_co_decomposition(
            self.image,
            self.regions * chosen[:, None, None],
            self.caption,
            self.words * chosen[:, None],
            self.nouns,
            tokenizer=self.tokenizer,
        )


class _NetworkSize(ImagePipeline):
    """Scores come on the grid that the network looks at: those of all classes at the size of a
    photograph would be gigabytes."""

    def batches(self, *args):
        for items in super().batches(*args):
            for item in items:
                sample = item['data_samples']
                sample.set_metainfo(dict(ori_shape=sample.img_shape))
            yield items


class PageModel:
    """A model behind the page. Its threads call in any order; ``worker`` has one, which computes.

    Args:
        title (str): What the page calls it.
        inferencer (CoDeInferencer): It belongs to the page from now on.
        limits (Limits): Of every request.
        worker (ThreadPoolExecutor): With one thread, shared by all models.

    Raises:
        ValueError: The model decides over whole images, and has no scores for a threshold.
    """

    def __init__(
        self,
        title: str,
        inferencer: CoDeInferencer,
        limits: Limits,
        worker: ThreadPoolExecutor,
    ) -> None:
        self.title, self.inferencer, self.limits = title, inferencer, limits
        model = inferencer.model
        if model.decode_head.name_scores is not None:
            raise ValueError(
                'expected a model without name_scores, whose labels do not follow from a '
                f'threshold alone, but got {title}; use tools/segment.py'
            )
        self.threshold = model.background_threshold
        inferencer.pipeline = _NetworkSize(model.cfg, inferencer.pipeline.shorter_side)
        self._worker = worker
        self._load = LoadCaptionImage(1, max_pixels=limits.pixels)

    @property
    def decomposes(self) -> bool:
        """Whether it finds words, too."""
        parts = getattr(self.inferencer.model, 'co_decomposition', None)
        return getattr(parts, 'text_segmenter', None) is not None

    @property
    def slider(self) -> float:
        """Where the threshold stands at first."""
        return self.threshold or DEFAULT_BACKGROUND_THRESHOLD

    def segment(self, files: Sequence[str], classes: str) -> Answer:
        """Look for words in image files.

        Raises:
            ValueError: A sentence: no image that can be read, words that cannot be looked for, or
                a limit.
        """
        if not files:
            raise ValueError('there is no image yet; drop, paste or pick one, or take an example')
        words = self._words(classes)
        return self._within_the_time(self._segment, list(files), words)

    def decompose(self, file: str | None, caption: str) -> Decomposition:
        """Regions and words of the nouns of a caption; raises as :meth:`segment`."""
        if not self.decomposes:
            raise ValueError(
                f'{self.title} has no text segmenter; start the page with a CoDe that was trained '
                '(--config, --checkpoint)'
            )
        if not file:
            raise ValueError('there is no image yet; drop, paste or pick one, or take an example')
        if not caption.strip():
            raise ValueError('there is no caption yet; write a sentence about the image')
        if len(caption) > MOST_CHARACTERS:
            raise ValueError(
                f'a caption may have {MOST_CHARACTERS} characters, this one has {len(caption)}'
            )
        return self._within_the_time(self._decompose, file, caption)

    def _words(self, classes: str) -> tuple[str, ...]:
        names = make_query(classes, background=True).words
        count = sum(len(name.split('|')) for name in names)
        if count > self.limits.classes:
            raise ValueError(
                f'at most {self.limits.classes} words at a time, synonyms counted, but these are '
                f'{count}; leave some out (--max-classes)'
            )
        return names

    def _within_the_time(self, work: Callable, *args):
        end = time.monotonic() + self.limits.seconds
        future = self._worker.submit(work, end, *args)
        try:
            return future.result(self.limits.seconds)
        except TimeoutError as error:
            future.cancel()  # what has begun ends after its image
            raise ValueError(
                f'this took longer than {self.limits.seconds:g} seconds; use fewer or smaller '
                'images, or come back when fewer people do (--max-seconds)'
            ) from error

    def _segment(self, end: float, files: list[str], words: tuple[str, ...]) -> Answer:
        answer, left = Answer(), self.limits.pixels
        # any threshold will do: its plane is not looked at
        query = ClassQuery(words, DEFAULT_BACKGROUND_THRESHOLD)
        for file in files:
            if time.monotonic() > end:
                raise TimeoutError
            name = Path(file).name
            try:
                image = self._read(file)
                left -= image.shape[0] * image.shape[1]
                if left < 0:
                    raise UnreadableImage(
                        f'with it there are more than {self.limits.pixels / 1e6:g} million pixels '
                        'in all; use fewer or smaller images (--max-pixels)'
                    )
                one = [InputImage(Path(file).stem, image)]
                keys = dict(on_error='raise', keep_scores=True)
                (found,) = self.inferencer.segment(one, query, **keys)
            except UnreadableImage as error:
                answer.failed[name] = str(error)
                continue
            best, label = self._best_class(found.scores[1:], image.shape[:2])
            answer.found.append(Found(one[0].name, found.image, words, best, label))
        if not answer.found:
            raise ValueError('; '.join(f'{name}: {why}' for name, why in answer.failed.items()))
        if len(words) > 1:
            answer.pairs = embedded_pairs(self.inferencer.model.vocabulary.embeddings, words)
        return answer

    @torch.no_grad()
    def _decompose(self, end: float, file: str, caption: str) -> Decomposition:
        # beside tools/analysis; the page runs without it where there is no text segmenter
        from draw_co_decomposition import load_pair

        if time.monotonic() > end:
            raise TimeoutError
        model, image = self.inferencer.model, self._read(file)
        if max(image.shape[:2]) > LONGEST * min(image.shape[:2]):
            raise ValueError(
                f'an image may be {LONGEST} times as long as wide here, this one is longer; crop it'
            )
        wanted = dict(image=file, caption=caption, nouns=None, max_nouns=MOST_NOUNS)
        try:
            pair = load_pair(model.cfg, argparse.Namespace(**wanted))
        except ValueError as error:
            raise ValueError(str(error).replace(file, Path(file).name)) from error
        nouns = list(pair['data_samples'].selected_nouns)
        inputs = model.data_preprocessor(pseudo_collate([pair]), False)
        sample = model.decompose(**inputs)[0]
        parts = (sample.region_masks, sample.word_masks)
        regions, words = (part.float().cpu().numpy() for part in parts)
        return Decomposition(
            image[..., ::-1], caption, nouns, regions, words, model.backbone.tokenizer
        )

    def _read(self, file: str) -> np.ndarray:
        """Image (H, W, 3), BGR; raises an UnreadableImage, whatever else the file is."""
        size = os.path.getsize(file)
        if size > self.limits.bytes:
            raise UnreadableImage(
                f'a file may have {self.limits.bytes / 1e6:g} MB, this one has {size / 1e6:.1f}; '
                'make it smaller (--max-bytes)'
            )
        try:
            return self._load(dict(img_bytes=Path(file).read_bytes()))['img']
        except UnusableSample as unusable:
            if unusable.reason == 'large_image':
                raise UnreadableImage(
                    f'an image may have {self.limits.pixels / 1e6:g} million pixels, this one has '
                    'more; make it smaller (--max-pixels)'
                ) from unusable
            raise UnreadableImage(
                'this is no image that can be read; use JPEG, PNG, WebP, TIFF, BMP or GIF'
            ) from unusable

    def _best_class(
        self, scores: np.ndarray, size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Best score and class per pixel of ``size``, as mmseg resizes: class by class."""
        best, label = torch.full(size, -1.0), torch.zeros(size, dtype=torch.int32)
        for number, plane in enumerate(torch.from_numpy(scores)):
            if plane.shape != size:
                plane = F.interpolate(
                    plane[None, None],
                    size,
                    mode='bilinear',
                    align_corners=self.inferencer.model.align_corners,
                )
            plane = plane.reshape(size)
            label[plane > best] = number
            torch.maximum(best, plane, out=best)
        return best.numpy(), label.numpy().astype(np.uint16)
