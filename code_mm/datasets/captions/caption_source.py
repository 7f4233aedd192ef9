"""One set of shards of a caption stream: what they hold, and the samples of one of them."""

import json
import os
from collections.abc import Callable, Iterator, Sequence

from webdataset.tariterators import base_plus_ext

from code_mm.datasets.sample_ledger import Skip
from code_mm.datasets.shards.shard_index import MemberSorter, ShardLayout, missing_part
from code_mm.datasets.shards.shard_opener import check_can_open, open_shard
from code_mm.datasets.shards.shard_paths import expand_shard_paths, is_url, shard_name
from code_mm.datasets.shards.tar_members import tar_members
from code_mm.structures.unusable_sample import UnusableSample

from .sample import decode_sample

_MAX_RUN = 16  # samples that differ behind the first dot of their names, held at once


class CaptionSource:
    """The shards of one data set, for :class:`CaptionStreamDataset`.

    Args:
        shards (str or Sequence[str]): As of :class:`CaptionShardsDataset`, and URLs (``https://``,
            ``pipe:``, ``s3://`` and others of fsspec), also with braces.
        data_root (str): Folder or URL before relative ``shards``.
        name (str, optional): How messages name it; default: the first shard.
        weight (float, optional): Its share of the samples, relative to the other sources'.
            Default: its number of samples, or of shards where a source's samples are not known.
        num_samples (int, optional): Default: counted from img2dataset's ``*_stats.json`` beside
            each shard; unknown where one lacks it.
        image_extensions, caption_extension, caption_field, nouns_field: As of
            :class:`CaptionShardsDataset`.
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
    ) -> None:
        if weight is not None and weight <= 0:
            raise ValueError(f'expected weight > 0, but got {weight}')
        if num_samples is not None and num_samples < 1:
            raise ValueError(f'expected num_samples >= 1, or None, but got {num_samples}')
        named = expand_shard_paths(shards, data_root)
        self.shards = [shard for shard in named if is_url(shard) or os.path.exists(shard)]
        there = set(self.shards)
        self.missing = [Skip('missing_shard', shard_name(s)) for s in named if s not in there]
        for shard in {s.partition(':')[0]: s for s in self.shards if is_url(s)}.values():
            check_can_open(shard)
        self.name = name or (self.shards[0] if len(self.shards) == 1 else f'{self.shards[0]}, …')
        self.weight = weight
        self.layout = ShardLayout.of(image_extensions, caption_extension, caption_field)
        self.caption_field, self.nouns_field = caption_field, nouns_field
        sizes = [num_samples] if num_samples else [_successes(shard) for shard in self.shards]
        self.num_samples: int | None = None if None in sizes else sum(sizes)

    def members(
        self, shard: str, damage: Callable[[str, str, str], None], timeout: float | None
    ) -> Iterator[dict]:
        """The members of each sample of a shard: its ``__key__`` and contents by kind.

        ``damage`` is called as by :func:`tar_members`. Raises OSError where the shard cannot be
        opened or read on.
        """

        def samples(run: MemberSorter) -> Iterator[dict]:
            found, unused = run.samples_and_unused()
            for name in unused:
                damage('unused_member', name, '')
            for key, members in found.items():
                yield dict(members, __key__=key)

        with open_shard(shard, timeout) as file:
            run, first = MemberSorter(self.layout, damage), None
            for member, data in tar_members(file, self._is_wanted, damage):
                # what shares a name up to the first dot is told apart together, if it is not much
                start = base_plus_ext(member.name)[0] or member.name
                is_new = self.layout.key_and_kind(member.name)[0] not in run.samples
                if start != first or (is_new and len(run.samples) >= _MAX_RUN):
                    yield from samples(run)
                    run, first = MemberSorter(self.layout, damage), start
                run.add(member, data)
            yield from samples(run)

    def _is_wanted(self, member: str) -> bool:
        kind = self.layout.key_and_kind(member)[1]
        return kind in ('image', 'caption') or (kind == 'fields' and self.nouns_field is not None)

    def decode(self, key: str, shard: str, members: dict) -> dict:
        """What the pipeline gets of a sample, see :func:`decode_sample`."""
        if problem := missing_part(members):
            raise UnusableSample(problem)
        image, caption = members['image'], members['caption']
        fields = caption if self.caption_field else members.get('fields')
        keys = self.caption_field, self.nouns_field
        return decode_sample(key, shard, image, caption, fields, *keys)


def source_weights(sources: Sequence[CaptionSource]) -> list[float]:
    """Shares of the samples: as given, else by number of samples, else by number of shards."""
    given = [source.weight for source in sources]
    if len(given) == 1:
        return [1.0]
    if None not in given:
        return given
    if given != [None] * len(given):
        raise ValueError(f'expected a weight for every source or for none, but got {given}')
    sizes = [source.num_samples for source in sources]
    return [len(source.shards) for source in sources] if None in sizes else sizes


def _successes(shard: str) -> int | None:
    try:
        with open(f'{os.path.splitext(shard)[0]}_stats.json', encoding='utf-8') as file:
            return int(json.load(file)['successes'])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or of another tool
