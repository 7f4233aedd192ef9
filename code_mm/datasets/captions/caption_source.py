"""One set of shards of a caption stream: what they hold and how they are read."""

import time
from collections.abc import Iterator, Sequence

from webdataset.tariterators import base_plus_ext, group_by_keys

from code_mm.datasets.shards.shard_index import ShardLayout
from code_mm.datasets.shards.shard_opener import check_can_open, open_shard
from code_mm.datasets.shards.shard_schedule import Part
from code_mm.datasets.shards.shard_sizes import count_samples
from code_mm.datasets.shards.shard_urls import expand_shard_urls, is_url, shard_name, split_missing
from code_mm.datasets.shards.tar_stream import stream_members
from code_mm.structures.unusable_sample import UnusableSample

from .caption_dataset import CaptionDataset
from .sample_fields import decode_caption, parse_fields
from .stream_ledger import StreamLedger
from .worker_status import WorkerStatus

_RETRY_SECONDS = 1.0  # before the first retry; then twice as long each time


class CaptionSource:
    """The shards of one data set, for :class:`CaptionStreamDataset`.

    Args:
        shards: one or a list of: path, brace range (``'{00000..01242}.tar'``), glob, folder,
            URL (``https://``, ``pipe:``, ``s3://`` and others of fsspec), also with braces.
        data_root: folder or URL before relative ``shards``.
        name: how messages name it; default: the first shard.
        weight: its share of the samples, relative to the other sources'. Default: its
            number of samples, or of shards where a source's samples are not known.
        image_extensions: members that are images.
        caption_extension: member that is the caption, as plain text.
        caption_field: take the caption from this field of the json member instead.
        nouns_field: field of the json member with the caption's nouns. None: do not look.
        num_samples: number of samples, where it is known but not written beside the shards.
        index_dir: folder of the indices of ``CaptionShardsDataset``, to count samples from.

    Raises:
        ValueError: no shard is there.
        ImportError: nothing is installed to read such URLs.
    """

    def __init__(
        self,
        shards: str | Sequence[str],
        *,
        data_root: str = '',
        name: str | None = None,
        weight: float | None = None,
        image_extensions: Sequence[str] = ('jpg', 'jpeg', 'png', 'webp'),
        caption_extension: str = 'txt',
        caption_field: str | None = None,
        nouns_field: str | None = 'nouns',
        num_samples: int | None = None,
        index_dir: str | None = None,
    ) -> None:
        if weight is not None and weight <= 0:
            raise ValueError(f'expected weight > 0, but got {weight}')
        self.shards, self.missing = split_missing(expand_shard_urls(shards, data_root))
        for shard in {s.partition(':')[0]: s for s in self.shards if is_url(s)}.values():
            check_can_open(shard)
        self.name = name or (self.shards[0] if len(self.shards) == 1 else f'{self.shards[0]}, …')
        self.weight = weight
        self.layout = ShardLayout(
            image=tuple(extension.lower().lstrip('.') for extension in image_extensions),
            caption='json' if caption_field else caption_extension.lower().lstrip('.'),
        )
        self.caption_field = caption_field
        self.nouns_field = nouns_field
        self._kinds = {*self.layout.image, self.layout.caption}
        if nouns_field:
            self._kinds.add(self.layout.fields)
        self._num_samples = num_samples
        self._index_dir = index_dir
        self._counted = num_samples is not None

    @property
    def num_samples(self) -> int | None:
        """Samples as given, or as counted from what lies beside the shards; None: unknown."""
        if not self._counted:
            self._num_samples = count_samples(self.shards, self.layout, self._index_dir)
            self._counted = True
        return self._num_samples

    def read(
        self,
        part: Part,
        ledger: StreamLedger,
        status: WorkerStatus,
        timeout: float | None,
        retries: int,
    ) -> Iterator[dict]:
        """Yield the samples of a part of a shard, undecoded; count what is wrong.

        A failing read is tried again, from the sample after the last whole one.

        Args:
            part: what to read.
            ledger: where the rest is counted.
            status: told which shard is being read.
            timeout: seconds without a byte from a pipe or download.
            retries: further tries.
        """
        shard = self.shards[part.shard]
        ledger.open_shard()
        done = 0
        for attempt in range(retries + 1):
            status.set(f'opening {shard}' + (f', retry {attempt}' if attempt else ''))
            try:
                for number, members in enumerate(self._members(shard, part, ledger, timeout)):
                    if number < done:
                        continue
                    done = number + 1
                    if number % part.parts == part.part:
                        sample = self._checked(members, shard, ledger)
                        if sample is not None:
                            yield sample
                            status.set(f'reading {shard}')
                return
            except OSError as error:
                problem = _problem(error, done)
                if attempt == retries or (
                    isinstance(error, FileNotFoundError) and not is_url(shard)
                ):
                    break
                time.sleep(_RETRY_SECONDS * 2**attempt)
        ledger.lose_shard(shard_name(shard), problem, count=part.part == 0)

    def _members(self, shard: str, part: Part, ledger: StreamLedger, timeout) -> Iterator[dict]:
        """The members of each sample by extension; damage is counted by the first part only."""
        name = shard_name(shard)

        def damage(reason: str, member: str, detail: str) -> None:
            if part.part == 0:
                key = f'{name}/{member}' if member else name
                problem = UnusableSample(reason, detail)
                if reason == 'unreadable_shard':
                    ledger.lose_shard(key, problem)
                else:
                    ledger.damage(key, problem)

        def duplicate(error: Exception) -> bool:
            damage('duplicate_member', str(error.args[0]).partition(': ')[0], '')
            return True

        file = open_shard(shard, timeout)
        try:
            files = (
                dict(fname=member, data=data, __url__=shard)
                for member, data in stream_members(file, self._is_wanted, damage)
            )
            yield from group_by_keys(files, suffixes=self._kinds, handler=duplicate)
        finally:
            file.close()

    def _is_wanted(self, member: str) -> bool:
        _, extension = base_plus_ext(member)
        return extension is not None and extension.lower() in self._kinds

    def _checked(self, members: dict, shard: str, ledger: StreamLedger) -> dict | None:
        """A sample as the pipeline takes it; None (counted) where something is missing."""
        key = f'{shard_name(shard)}/{members["__key__"]}'
        try:
            sample = dict(shard=shard, sample_key=key, img_bytes=self._image(members))
            fields = {}
            if self.caption_field or (self.nouns_field and self.layout.fields in members):
                fields = parse_fields(members[self.layout.fields])
            if self.caption_field:
                caption = fields.get(self.caption_field)
            else:
                caption = decode_caption(members[self.layout.caption])
            sample['caption'] = CaptionDataset.checked_caption(caption)
            nouns = fields.get(self.nouns_field) if self.nouns_field else None
            if nouns is not None:
                sample['nouns'] = CaptionDataset.checked_nouns(nouns)
            return sample
        except UnusableSample as problem:
            ledger.skip(key, problem)
            return None

    def _image(self, members: dict) -> bytes:
        """The image, where also a caption is there that is not empty."""
        image = next((members[e] for e in self.layout.image if e in members), None)
        if image is None:
            raise UnusableSample('missing_image')
        if self.layout.caption not in members:
            raise UnusableSample('missing_caption')
        if not image:
            raise UnusableSample('broken_image', '0 bytes')
        if not members[self.layout.caption]:
            raise UnusableSample('empty_caption')
        return image


def source_weights(sources: Sequence[CaptionSource]) -> list[float]:
    """Shares of the samples: as given, else by number of samples, else by number of shards.

    Raises:
        ValueError: only some sources have a weight.
    """
    given = [source.weight for source in sources]
    if len(given) == 1:
        return [1.0]
    if None not in given:
        return given
    if given != [None] * len(given):
        raise ValueError(f'expected a weight for every source or for none, but got {given}')
    sizes = [source.num_samples for source in sources]
    return [len(source.shards) for source in sources] if None in sizes else sizes


def _problem(error: OSError, samples_read: int) -> UnusableSample:
    if samples_read:
        return UnusableSample('truncated_shard', f'after {samples_read} samples: {error}')
    # a command that fails before its first byte: the server or the store has no such file
    missing = isinstance(error, FileNotFoundError) or 'exit' in str(error)
    return UnusableSample('missing_shard' if missing else 'unreadable_shard', str(error))
