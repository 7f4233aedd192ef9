"""How fast are samples loaded, and which stage takes how long?"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence

from mmengine.dataset import Compose, pseudo_collate
from mmengine.logging import print_log
from torch.utils.data import DataLoader, Dataset, IterableDataset

from code_mm.datasets.captions.caption_shards import CaptionShardsDataset
from code_mm.datasets.captions.caption_stream import CaptionStreamDataset
from code_mm.datasets.transforms import LoadNouns

DECODING = 'decoding and cropping alone'
TAGGING = 'random access, tagging on the fly'
CACHED = 'random access, noun cache'
STREAM = 'stream, noun cache'
VARIANTS = (DECODING, TAGGING, CACHED, STREAM)
_BATCH = 16


class EncodedImages(Dataset):
    """Images in memory, so that nothing but the transforms takes time."""

    def __init__(self, images: Sequence[bytes], pipeline: Sequence) -> None:
        self.images, self.pipeline = images, Compose(pipeline)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict:
        return self.pipeline(dict(img_bytes=self.images[index]))


class LoadingSpeed:
    """Measures the same samples in several ways, taking turns, so that all see the same machine.

    Args:
        shards: paths of local tar files.
        pipeline: of a training config, with ``LoadNouns``, ``LoadCaptionImage`` and a crop.
        noun_cache: folder of the nouns of these shards.
        num_samples: pairs that are measured; those that are unusable are left out before.
        num_workers: loader workers; 0: everything in this process.

    Raises:
        ValueError: the pipeline lacks such a transform, or the shards hold no usable pair.
    """

    def __init__(
        self,
        shards: Sequence[str],
        pipeline: Sequence[dict],
        noun_cache: str,
        num_samples: int = 500,
        num_workers: int = 0,
    ) -> None:
        names = [step['type'].rpartition('.')[2] for step in pipeline]
        image_steps = [
            step
            for step, name in zip(pipeline, names, strict=True)
            if name == 'LoadCaptionImage' or 'Crop' in name or name == 'Resize'
        ]
        if 'LoadNouns' not in names or 'LoadCaptionImage' not in names or len(image_steps) < 2:
            raise ValueError(
                f'expected a pipeline with LoadNouns, LoadCaptionImage and a crop, but got {names}'
            )
        self.num_workers = num_workers
        tagging, cached = (
            [
                {**step, 'cache': cache} if name == 'LoadNouns' else step
                for step, name in zip(pipeline, names, strict=True)
            ]
            for cache in (None, noun_cache)
        )
        self.tagging = CaptionShardsDataset(shards, pipeline=tagging)
        self.cached = CaptionShardsDataset(shards, pipeline=cached)
        self.indices = self._usable(num_samples)
        self.images = [self._read(self.tagging, i)['img_bytes'] for i in self.indices]
        self._alone = EncodedImages(self.images, image_steps)
        self._stream = CaptionStreamDataset(dict(shards=list(shards)), cached, shuffle_buffer=0)
        self._streamed: Iterator = iter(self._stream)

    def _usable(self, count: int) -> list[int]:
        found = []
        for index in range(len(self.cached)):
            if self.cached.prepare_data(index) is not None:
                found.append(index)
            if len(found) == count:
                break
        if not found:
            raise ValueError(f'expected usable pairs, but got {self.cached.skipped}')
        return found

    @staticmethod
    def _read(dataset: CaptionShardsDataset, index: int) -> dict:
        return dataset.read_sample(dataset.get_data_info(index))

    def samples_per_second(self, repeats: int = 5) -> dict[str, float]:
        """Median over the repeats, by variant; a first round is not counted."""
        found: dict[str, list[float]] = {name: [] for name in VARIANTS}
        for turn in range(repeats + 1):
            for name in VARIANTS:
                seconds = self._seconds(name)
                if turn:
                    found[name].append(len(self.indices) / seconds)
            print_log(f'round {turn} of {repeats} (0 is to warm up)', logger='current')
        return {name: statistics.median(values) for name, values in found.items()}

    def _seconds(self, name: str) -> float:
        if self.num_workers:
            return self._seconds_of_workers(name)
        if name == STREAM:
            start = time.perf_counter()
            for _ in self.indices:
                next(self._streamed)
            return time.perf_counter() - start
        dataset, indices = self._dataset(name), self.indices
        if name == DECODING:
            indices = range(len(indices))
        start = time.perf_counter()
        for index in indices:
            dataset[index]
        return time.perf_counter() - start

    def _dataset(self, name: str) -> Dataset | IterableDataset:
        return {
            DECODING: self._alone,
            TAGGING: self.tagging,
            CACHED: self.cached,
            STREAM: self._stream,
        }[name]

    def _seconds_of_workers(self, name: str) -> float:
        """Time of the batches after the first of each worker, scaled to all samples."""
        count = len(self.indices)
        sampler = None
        if name != STREAM:
            sampler = list(range(count)) if name == DECODING else self.indices
        batch = max(1, min(_BATCH, count // (2 * self.num_workers)))
        loader = iter(
            DataLoader(
                self._dataset(name),
                batch,
                sampler=sampler,
                num_workers=self.num_workers,
                collate_fn=pseudo_collate,
            )
        )
        for _ in range(self.num_workers):
            next(loader)
        start, num_batches = time.perf_counter(), count // batch - self.num_workers
        for _ in range(num_batches):
            next(loader)
        return (time.perf_counter() - start) * count / (num_batches * batch)

    def stage_milliseconds(self) -> dict[str, dict[str, float]]:
        """Median time of each stage of one sample in this process, by variant and stage."""
        times: dict[str, dict[str, list[float]]] = {TAGGING: {}, CACHED: {}}
        for index in self.indices:
            for name, stages in times.items():
                dataset = self._dataset(name)
                info = dataset.get_data_info(index)
                sample = _timed(stages, 'reading', dataset.read_sample, info)
                for transform in dataset.pipeline.transforms:
                    sample = _timed(stages, type(transform).__name__, transform, sample)
        return {
            name: {stage: 1000 * statistics.median(values) for stage, values in stages.items()}
            for name, stages in times.items()
        }

    def noun_milliseconds(self) -> dict[str, float]:
        """Median time for the nouns of one caption: ``tagging`` and ``look-up``."""
        tag, look_up = (
            next(t for t in dataset.pipeline.transforms if isinstance(t, LoadNouns))
            for dataset in (self.tagging, self.cached)
        )
        times: dict[str, list[float]] = {}
        for index in self.indices:
            sample = self._read(self.tagging, index)
            _timed(times, 'tagging', tag, dict(sample))
            _timed(times, 'look-up', look_up, dict(sample))
        return {name: 1000 * statistics.median(values) for name, values in times.items()}


def _timed(times: dict[str, list[float]], name: str, function: Callable, argument):
    start = time.perf_counter()
    result = function(argument)
    times.setdefault(name, []).append(time.perf_counter() - start)
    return result
