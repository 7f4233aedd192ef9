"""Image-caption pairs from tar shards that are read as a stream, from disks or the net."""

import itertools
import random
import time
from collections.abc import Iterator, Sequence

from mmengine.dataset import Compose
from mmengine.dist import get_dist_info
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info
from webdataset.filters import shuffle

from code_mm.datasets.sample_ledger import SampleLedger
from code_mm.datasets.shards.shard_paths import is_url, shard_name
from code_mm.datasets.shards.shard_schedule import Part, parts_of_pass
from code_mm.registry import DATASETS
from code_mm.structures.unusable_sample import UnusableSample

from .caption_dataset import CaptionDataset
from .caption_source import CaptionSource, source_weights
from .sample import draw_caption
from .stream_workers import StreamWorkers

_ENDLESS = 2**62
_RETRY_SECONDS = 1.0  # before the first retry; then twice as long each time


@DATASETS.register_module()
class CaptionStreamDataset(IterableDataset):
    """Pairs of an image and a caption, read from tar shards from begin to end.

    For shards that are too many to index or are not on this machine's disks; nothing is
    stored. Each pass deals the shards anew among all loader workers of all processes, in an order
    that follows from the seed; with fewer shards than workers, several read the same shard
    and each keeps every k-th sample. The loader needs ``sampler=None``, and
    ``StreamPositionHook`` to resume without replaying.

    Samples are what :class:`~code_mm.datasets.CaptionShardsDataset` gives; the members of a
    sample must be neighbours. An unusable sample (see
    :data:`~code_mm.structures.unusable_sample.UNUSABLE_REASONS`) or shard is counted with its
    reason, named in a warning and passed over.

    Args:
        sources (dict or Sequence[dict]): Arguments of one or more :class:`CaptionSource`.
        pipeline (Sequence): Transforms.
        repeat (bool): Begin again after each pass. False: one pass, every sample once, and the
            next pass with the next iteration over the loader.
        shuffle_buffer (int): Undecoded samples per worker among which the next one is drawn; 0 or
            1: none. 1000 of img2dataset's take ~50 MB.
        seed (int, optional): Of order and mixture. Default: that of ``StreamPositionHook``'s run.
        shard_timeout (float, optional): Seconds without a byte after which a pipe or download is
            given up; None: never. What else hangs is named when the loader's own ``timeout``
            passes, which should exceed ``(retries + 1) * shard_timeout``.
        retries (int): Further tries to read a shard that failed.
        max_refetch (int): Unusable samples in a row, per worker, before an error is raised.
        max_bad_fraction (float), max_warnings (int): Of :class:`SampleLedger`.
    """

    metainfo = CaptionDataset.METAINFO

    def __init__(
        self,
        sources: dict | Sequence[dict],
        pipeline: Sequence,
        *,
        repeat: bool = True,
        shuffle_buffer: int = 1000,
        seed: int | None = None,
        shard_timeout: float | None = 60.0,
        retries: int = 2,
        max_refetch: int = 10_000,
        max_bad_fraction: float = 0.5,
        max_warnings: int = 20,
    ) -> None:
        sources = [sources] if isinstance(sources, dict) else list(sources)
        if not sources:
            raise ValueError('expected at least one source of shards, but got an empty list')
        if shuffle_buffer < 0 or retries < 0:
            raise ValueError(
                f'expected shuffle_buffer and retries >= 0, but got {shuffle_buffer}, {retries}'
            )
        if shard_timeout is not None and shard_timeout <= 0:
            raise ValueError(f'expected shard_timeout > 0 or None, but got {shard_timeout}')
        self.pipeline = Compose(pipeline)
        self.sources = [CaptionSource(**source) for source in sources]
        self.repeat, self.shuffle_buffer, self.seed = repeat, shuffle_buffer, seed
        self.shard_timeout, self.retries, self.max_refetch = shard_timeout, retries, max_refetch
        self.rank, self.world_size = get_dist_info()
        self.workers = StreamWorkers(len(self.sources))
        missing = [skip for source in self.sources for skip in source.missing]
        self.ledger = SampleLedger(
            self.name, missing, max_bad_fraction=max_bad_fraction, max_warnings=max_warnings
        )
        self._weights = source_weights(self.sources)
        shards = sum(len(source.shards) for source in self.sources)
        self._sizes = [source.num_samples for source in self.sources]
        pairs = 'an unknown number of' if None in self._sizes else sum(self._sizes)
        self.ledger.log_index_summary(f'{shards} shards, {pairs} image-caption pairs')

    @property
    def name(self) -> str:
        """How messages name this dataset."""
        return f'{type(self).__name__}({", ".join(source.name for source in self.sources)})'

    def __len__(self) -> int:
        """Samples of one pass over all processes; TypeError where they are unknown.

        Of an endless stream, then a number beyond every training, as MMEngine asks for it.
        """
        if None not in self._sizes:
            return sum(self._sizes)
        if not self.repeat:
            raise TypeError(
                f'{self.name}: expected a known number of samples, but there are shards without '
                "img2dataset's *_stats.json beside them; give num_samples"
            )
        return _ENDLESS

    @property
    def skipped(self) -> dict[str, int]:
        """How many items were left out so far, by reason, in all workers of this process."""
        return self.ledger.counts()

    def resume_at(self, passes: Tensor, num_workers: int) -> None:
        """Have the next iteration, by ``num_workers`` a process, go on behind another run.

        How far that was is told by its :class:`StreamWorkers`, (processes, workers, sources); with
        other numbers of processes or workers each begins at the mean.
        """
        same = passes.shape[:2] == (self.world_size, max(1, num_workers))
        self.workers.resume_at(passes[self.rank] if same else passes.mean((0, 1)), num_workers)

    def __iter__(self) -> Iterator[dict]:
        """Samples after the pipeline, of this loader worker; RuntimeError where too few are."""
        info = get_worker_info()
        worker, num_workers = (info.id, info.num_workers) if info else (0, 1)
        # processes come first, so that what is left over goes to different ones
        reader = worker * self.world_size + self.rank, self.world_size * num_workers
        begin = self.workers.begin(num_workers)  # now, not when the first sample is asked for
        streams = [self._source_samples(index, *reader, at) for index, at in enumerate(begin)]
        seed = f'{self.seed or 0} {self.rank} {worker} {begin}'
        samples = _mix(streams, self._weights, random.Random(f'mixture {seed}'))
        if self.shuffle_buffer > 1:
            rng = random.Random(f'buffer {seed}')
            samples = shuffle(self.shuffle_buffer, rng=rng)(samples)
        return self._prepared(samples)

    def _source_samples(
        self, index: int, reader: int, num_readers: int, begin: float
    ) -> Iterator[tuple[CaptionSource, str, dict]]:
        """A reader's share of a source, pass after pass from ``begin`` on, undecoded.

        A reader that got nothing in a pass, as there are fewer samples than readers, takes the
        next pass for itself.
        """
        source, whole_pass = self.sources[index], False
        for number in itertools.count(int(begin)):
            dealt = (0, 1) if whole_pass else (reader, num_readers)
            order = f'{self.seed or 0} {index} {number}'
            parts = parts_of_pass(len(source.shards), *dealt, order)
            first = round(max(0, begin - number) * len(parts))
            found = first > 0
            for opened, part in enumerate(parts[first:], start=first + 1):
                passes = number + opened / len(parts)
                self.workers.move(index, passes)
                for sample in self._read(source, part):
                    found = True
                    yield sample
                    self.workers.move(index, passes)  # another iterator may have moved
            if not self.repeat:
                return
            if whole_pass and not found:
                raise RuntimeError(
                    f'{self.name}: found no image or caption in a whole pass over '
                    f'{len(source.shards)} shards of {source.name}; left out so far: '
                    f'{self.skipped}. Check shards, image_extensions and caption_extension'
                )
            whole_pass = not found

    def _read(self, source: CaptionSource, part: Part) -> Iterator[tuple[CaptionSource, str, dict]]:
        """The members of each sample of a part of a shard; the first part counts what is wrong.

        A failing read is tried again, from the sample after the last whole one.
        """
        shard, done = source.shards[part.shard], 0
        name = shard_name(shard)

        def damage(reason: str, member: str, detail: str) -> None:
            if part.part == 0:
                place, problem = f'{name}/{member}'.rstrip('/'), UnusableSample(reason, detail)
                self.ledger.damage(place, problem, lost=reason == 'unreadable_shard')

        self.ledger.open_shard()
        for attempt in range(self.retries + 1):
            self.workers.note(f'opening {shard}' + (f', retry {attempt}' if attempt else ''))
            try:
                samples = source.members(shard, damage, self.shard_timeout)
                for members in itertools.islice(samples, done, None):
                    done += 1
                    if (done - 1) % part.parts == part.part:
                        yield source, shard, members
                        self.workers.note(f'reading {shard}')
                return
            except OSError as error:
                problem = _lost(error, done)
                is_gone = isinstance(error, FileNotFoundError) and not is_url(shard)
                if is_gone or attempt == self.retries:
                    break
                time.sleep(_RETRY_SECONDS * 2**attempt)
        self.ledger.damage(name, problem, lost=True, count=part.part == 0)

    def _prepared(self, samples: Iterator[tuple[CaptionSource, str, dict]]) -> Iterator[dict]:
        refetched = 0
        for source, shard, members in samples:
            key = f'{shard_name(shard)}/{members["__key__"]}'
            self.workers.note(f'preparing {shard}, {key}')
            try:
                sample = self.pipeline(draw_caption(source.decode(key, shard, members)))
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
            self.workers.note(f'waiting to be asked, after {key}')
            yield sample


def _lost(error: OSError, done: int) -> UnusableSample:
    """Why a shard cannot be read on after ``done`` samples."""
    if done:
        return UnusableSample('truncated_shard', f'after {done} samples: {error}')
    # a command fails before its first byte: there is no such file at the server
    gone = isinstance(error, FileNotFoundError) or 'exit' in str(error)
    return UnusableSample('missing_shard' if gone else 'unreadable_shard', str(error))


def _mix(streams: Sequence[Iterator], weights: Sequence[float], rng: random.Random) -> Iterator:
    """Draw the source of each sample; webdataset's RandomMix draws from global state."""
    streams, weights = list(streams), list(weights)
    while streams:
        chosen = rng.choices(range(len(streams)), weights)[0]
        sample = next(streams[chosen], None)
        if sample is None:
            del streams[chosen], weights[chosen]
        else:
            yield sample
