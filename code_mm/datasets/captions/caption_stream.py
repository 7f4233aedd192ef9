"""Image-caption pairs from tar shards that are read as a stream, from disks or the net."""

import random
from collections.abc import Iterator, Sequence

from mmengine.dataset import Compose
from mmengine.dist import get_dist_info
from torch.utils.data import IterableDataset, get_worker_info
from webdataset.filters import shuffle

from code_mm.datasets.shards.shard_schedule import Reader, positions_after
from code_mm.registry import DATASETS
from code_mm.structures.unusable_sample import UnusableSample

from .caption_source import CaptionSource, source_weights
from .source_samples import Reading, source_samples
from .stream_ledger import StreamLedger
from .stream_progress import StreamProgress
from .worker_status import WorkerStatus

_ENDLESS = 2**62


@DATASETS.register_module()
class CaptionStreamDataset(IterableDataset):
    """Pairs of an image and a caption, read from tar shards from begin to end.

    For shards that are too many to index or are not on this machine's disks; nothing is
    stored. Made for ``IterBasedTrainLoop``: with ``repeat`` it never ends. Each pass
    deals the shards anew among all loader workers of all processes, in an order that follows
    from the seed, without overlap; with fewer shards than workers, several read the same shard
    and each keeps every k-th sample. The loader needs ``sampler=None``, and
    ``StreamPositionHook`` to resume without replaying.

    Samples are what :class:`~code_mm.datasets.CaptionShardsDataset` gives, and go through the
    same pipeline; the members of a sample must be neighbours. An unusable sample (see
    :data:`~code_mm.structures.unusable_sample.UNUSABLE_REASONS`) or shard is counted with its
    reason, named in a warning and passed over.

    Args:
        sources: one or a list of dicts with the arguments of
            ``CaptionSource`` (``shards``, ``data_root``,
            ``weight``, …).
        pipeline: transforms.
        repeat: begin again after each pass. False: one pass, every sample once, and the
            next pass with the next iteration over the loader.
        shuffle_shards: whether each pass has an order of its own.
        shuffle_buffer: undecoded samples per worker among which the next one is drawn; 0 or
            1: none. 1000 of img2dataset's take ~50 MB.
        seed: of order and mixture. Default: that of the run, from ``StreamPositionHook``; else 0.
        shard_timeout: seconds without a byte after which a pipe or download is given
            up; None: never. Files on a hanging network file system, and workers that hang for
            another reason, are named when the loader's own ``timeout`` passes, which
            should exceed ``(retries + 1) * shard_timeout``.
        retries: further tries to read a shard that failed.
        max_refetch: unusable samples in a row, per worker, before an error is raised.
        max_bad_fraction: share of unusable samples, in (0, 1], above which loading stops with
            an error (after 1000 samples per process), and of unreadable shards (after 20).
        max_warnings: warnings about single samples and shards, per worker.
        metainfo: of the dataset.

    Raises:
        ValueError: no source, or none of a source's shards is there.
    """

    METAINFO = dict(dataset_type='image_caption')

    def __init__(
        self,
        sources: dict | Sequence[dict],
        pipeline: Sequence,
        *,
        repeat: bool = True,
        shuffle_shards: bool = True,
        shuffle_buffer: int = 1000,
        seed: int | None = None,
        shard_timeout: float | None = 60.0,
        retries: int = 2,
        max_refetch: int = 10_000,
        max_bad_fraction: float = 0.5,
        max_warnings: int = 20,
        metainfo: dict | None = None,
    ) -> None:
        sources = [sources] if isinstance(sources, dict) else list(sources)
        if not sources:
            raise ValueError('expected at least one source of shards, but got an empty list')
        _check_numbers(shuffle_buffer, retries, shard_timeout)
        self.pipeline = Compose(pipeline)
        self.sources = [CaptionSource(**source) for source in sources]
        self.repeat = repeat
        self.shuffle_shards = shuffle_shards
        self.shuffle_buffer = shuffle_buffer
        self.seed = seed
        self.shard_timeout = shard_timeout
        self.retries = retries
        self.max_refetch = max_refetch
        self.metainfo = {**self.METAINFO, **(metainfo or {})}
        self.rank, self.world_size = get_dist_info()
        self.status = WorkerStatus()
        self.progress = StreamProgress(len(self.sources))
        self.ledger = StreamLedger(
            self.name,
            [skip for source in self.sources for skip in source.missing],
            max_bad_fraction=max_bad_fraction,
            max_warnings=max_warnings,
        )
        self._weights = source_weights(self.sources)
        shards = sum(len(source.shards) for source in self.sources)
        pairs = 'an unknown number of' if self.num_samples is None else self.num_samples
        self.ledger.log_index_summary(f'{shards} shards, {pairs} image-caption pairs')

    @property
    def name(self) -> str:
        """How messages name this dataset."""
        return f'{type(self).__name__}({", ".join(source.name for source in self.sources)})'

    @property
    def num_samples(self) -> int | None:
        """Samples of all sources, given or counted beside the shards; None: unknown."""
        sizes = [source.num_samples for source in self.sources]
        return None if None in sizes else sum(sizes)

    def __len__(self) -> int:
        """Samples of one pass over all processes.

        Where they are unknown, an endless stream gives a number beyond every training:
        MMEngine asks for the length to log the end of an epoch, which a stream does not have.

        Raises:
            TypeError: they are unknown, and the stream has an end.
        """
        if self.num_samples is not None:
            return self.num_samples
        if not self.repeat:
            raise TypeError(
                f'{self.name}: expected a known number of samples, but there are shards without '
                "img2dataset's *_stats.json or *.parquet beside them; give num_samples"
            )
        return _ENDLESS

    @property
    def skipped(self) -> dict[str, int]:
        """How many items were left out so far, by reason, in all workers of this process."""
        return self.ledger.counts()

    @property
    def num_used(self) -> int:
        """How many samples came through the pipeline so far, in all workers of this process."""
        return self.ledger.num_used

    def resume_at(self, positions: Sequence, num_workers: int) -> None:
        """Have the next iteration go on behind what another run has read.

        Args:
            positions: (processes, workers, sources, 2), of that run's ``progress``.
            num_workers: of this run's loader.
        """
        num_shards = [len(source.shards) for source in self.sources]
        begin = positions_after(
            positions, num_shards, self.rank, self.world_size, max(1, num_workers)
        )
        self.progress.resume_at(begin, num_workers)

    def __iter__(self) -> Iterator[dict]:
        """Samples after the pipeline, of this loader worker.

        Raises:
            RuntimeError: too large a share of samples or shards is unusable, or nothing
                usable is found at all.
        """
        info = get_worker_info()
        worker, num_workers = (info.id, info.num_workers) if info else (0, 1)
        reader = Reader.of(self.rank, self.world_size, worker, num_workers)
        begin = self.progress.begin(num_workers)  # now, not when the first sample is asked for
        reading = Reading(self.ledger, self.status, self.progress, self.shard_timeout, self.retries)
        streams = [
            source_samples(
                source,
                index,
                position,
                reader,
                seed=f'{self.seed or 0} {index}' if self.shuffle_shards else None,
                repeat=self.repeat,
                reading=reading,
            )
            for index, (source, position) in enumerate(zip(self.sources, begin, strict=True))
        ]
        seed = f'{self.seed or 0} {self.rank} {worker} {[tuple(p) for p in begin]}'
        samples = _mix(streams, self._weights, random.Random(f'mixture {seed}'))
        if self.shuffle_buffer > 1:
            rng = random.Random(f'buffer {seed}')
            samples = shuffle(self.shuffle_buffer, rng=rng)(samples)
        return self._prepared(samples)

    def _prepared(self, samples: Iterator[dict]) -> Iterator[dict]:
        refetched = 0
        for raw in samples:
            key = raw['sample_key']
            self.status.set(f'preparing {raw["shard"]}, {key}')
            try:
                sample = self.pipeline(raw)
                if sample is None:
                    raise UnusableSample('other', 'a transform returned None')
            except UnusableSample as problem:
                self.ledger.skip(key, problem)
                refetched += 1
                if refetched > self.max_refetch:
                    raise RuntimeError(
                        f'{self.name}: found no usable sample in {refetched} tries; left out so '
                        f'far: {self.skipped}. Check the data and the pipeline (e.g. num_nouns, '
                        'min_size)'
                    ) from problem
                continue
            refetched = 0
            self.ledger.use()
            self.status.set(f'waiting to be asked, after {key}')
            yield sample


def _check_numbers(shuffle_buffer: int, retries: int, shard_timeout: float | None) -> None:
    if shuffle_buffer < 0 or retries < 0:
        raise ValueError(
            f'expected shuffle_buffer and retries >= 0, but got {shuffle_buffer} and {retries}'
        )
    if shard_timeout is not None and shard_timeout <= 0:
        raise ValueError(f'expected shard_timeout > 0 or None, but got {shard_timeout}')


def _mix(
    streams: Sequence[Iterator[dict]], weights: Sequence[float], rng: random.Random
) -> Iterator[dict]:
    """Draw the source of each sample; webdataset's RandomMix draws from global state."""
    streams, weights = list(streams), list(weights)
    while streams:
        chosen = rng.choices(range(len(streams)), weights)[0]
        sample = next(streams[chosen], None)
        if sample is None:
            del streams[chosen], weights[chosen]
        else:
            yield sample
