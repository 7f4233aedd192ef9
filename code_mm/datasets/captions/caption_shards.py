"""Image-caption pairs from the tar shards that img2dataset writes."""

import bisect
import os
from collections.abc import Sequence
from itertools import accumulate

from code_mm.datasets.shards.shard_index import ShardIndex, ShardLayout, index_shards
from code_mm.datasets.shards.shard_paths import expand_shard_paths, is_url
from code_mm.datasets.shards.shard_reader import ShardReader
from code_mm.registry import DATASETS

from .caption_dataset import CaptionDataset
from .sample import Sample, decode_sample


class ShardSamples(Sequence):
    """The samples of many shards as one sequence of small dicts, made on demand.

    Millions of samples take ~33 bytes each, in arrays that forked workers share.

    Args:
        shards (Sequence[ShardIndex]): Indices of the shards.
        order (range, optional): Which of their samples this sequence holds; all by default.
    """

    def __init__(self, shards: Sequence[ShardIndex], order: range | None = None) -> None:
        self._shards = shards
        self._ends = list(accumulate(len(shard.keys) for shard in shards))
        self._order = range(self._ends[-1] if self._ends else 0) if order is None else order

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return ShardSamples(self._shards, self._order[index])
        position = self._order[index]
        number = bisect.bisect_right(self._ends, position)
        shard = self._shards[number]
        row = position - self._ends[number] + len(shard.keys)
        image, caption, fields = shard.places[row].tolist()
        return dict(
            shard=shard.path,
            sample_key=f'{os.path.basename(shard.path)}/{shard.keys[row].decode()}',
            image_range=image,
            caption_range=caption,
            fields_range=fields,
        )


@DATASETS.register_module()
class CaptionShardsDataset(CaptionDataset):
    """Pairs of an image and a caption in tar shards (img2dataset, webdataset).

    The shards' headers are scanned once; images and captions are then read at
    random by their offset, so the sampler alone decides on order and division among
    processes, and a run can be resumed exactly.

    A sample is what shares a name up to the first dot: ``0000003.jpg``,
    ``0000003.txt``, ``0000003.json``. One that lacks an image or a caption, a missing
    shard and the damaged part of a shard are left out, counted and named in one log
    line; see :class:`CaptionDataset` for what only reading shows.

    Args:
        shards (str or Sequence[str]): One or a list of: path, brace range
            (``'{00000..01242}.tar'``), glob (``'*.tar'``), folder.
        data_root (str): Folder before relative ``shards``.
        image_extensions (Sequence[str]): Members that are images.
        caption_extension (str): Member that is the caption, as plain text.
        caption_field (str, optional): Take the caption from this field of the json member instead.
        nouns_field (str, optional): Field of the json member with the caption's nouns, a list of
            strings. None: do not look (saves reading the json member).
        index_dir (str, optional): Folder in which the shards' indices are kept for the next run
            and for the other processes of this one (``tools/dataset_converters/index_shards.py``
            fills it in parallel); None: scan on every start (27 µs per member: 16 minutes for
            CC12M).
        **kwargs: Of :class:`CaptionDataset` (``pipeline``, ``indices``, ``lazy_init``, …).
    """

    def __init__(
        self,
        shards: str | Sequence[str],
        *,
        data_root: str = '',
        image_extensions: Sequence[str] = ('jpg', 'jpeg', 'png', 'webp'),
        caption_extension: str = 'txt',
        caption_field: str | None = None,
        nouns_field: str | None = 'nouns',
        index_dir: str | None = None,
        **kwargs,
    ) -> None:
        self.shards = shards
        self.data_root = data_root  # for self.name, before the base class sets it
        self.caption_field = caption_field
        self.nouns_field = nouns_field
        self.index_dir = index_dir
        self.layout = ShardLayout.of(image_extensions, caption_extension, caption_field)
        self._reader = ShardReader()
        # The index is a compact sequence already; mmengine's would be ten times larger.
        super().__init__(data_root=data_root, data_prefix={}, serialize_data=False, **kwargs)

    @property
    def name(self) -> str:
        shards = [self.shards] if isinstance(self.shards, str) else list(self.shards)
        first = os.path.join(self.data_root, str(shards[0])) if shards else ''
        return f'{type(self).__name__}({first}{", …" if len(shards) > 1 else ""})'

    def load_data_list(self) -> ShardSamples:
        """Index all shards; what is left out goes to ``index_skips``."""
        paths = expand_shard_paths(self.shards, self.data_root)
        if urls := [path for path in paths if is_url(path)]:
            raise ValueError(
                f'{self.name}: expected files, which alone have random access, but got {urls[0]}; '
                'use CaptionStreamDataset'
            )
        indices = index_shards(paths, self.layout, self.index_dir)
        self.index_skips = [skip for index in indices for skip in index.skips]
        samples = ShardSamples([index for index in indices if len(index.keys)])
        if not samples:
            found = ', '.join(map(str, self.index_skips[:5]))
            raise ValueError(
                f'{self.name}: expected pairs of {"/".join(self.layout.image)} and '
                f'{self.layout.caption} members in {len(paths)} shards, but found none ({found}); '
                'check image_extensions, caption_extension and caption_field'
            )
        return samples

    def get_data_info(self, idx: int) -> dict:
        """Where the sample ``idx`` lies; made anew each time, so no copy is needed."""
        self.full_init()
        info = self.data_list[idx]
        info['sample_idx'] = idx if idx >= 0 else len(self) + idx
        return info

    def read_sample(self, info: dict) -> dict:
        """Read the members; the json member only where something in it is wanted."""
        path = info['shard']
        fields = None
        if self.caption_field or (self.nouns_field and info['fields_range'][1]):
            fields = self._reader.read(path, *info['fields_range'])
        image = self._reader.read(path, *info['image_range'])
        caption = b'' if self.caption_field else self._reader.read(path, *info['caption_range'])
        sample = Sample(info['sample_key'], path, image, caption, fields)
        return decode_sample(sample, self.caption_field, self.nouns_field)
