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
from .sample import decode_sample


class ShardSamples(Sequence):
    """The samples of many shards as one sequence of small dicts, made on demand.

    Millions of samples take ~33 bytes each, in arrays that forked workers share.
    """

    def __init__(self, shards: Sequence[ShardIndex]) -> None:
        self._shards = shards
        self._ends = list(accumulate(len(shard.keys) for shard in shards))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        position = range(len(self))[index]
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

    A sample is what shares a name before its extension: ``0000003.jpg``, ``0000003.txt``,
    ``0000003.json``. One that lacks an image or a caption, a missing shard and the damaged part of
    a shard are left out, counted and named in one log line.

    Args:
        shards (str or Sequence[str]): One or a list of: path, brace range
            (``'{00000..01242}.tar'``), glob (``'*.tar'``), folder; relative to ``data_root``.
        image_extensions (Sequence[str]): Members that are images.
        caption_extension (str): Member that is the caption, as plain text.
        caption_field (str, optional): Take the caption from this field of the json member instead.
        nouns_field (str, optional): Field of the json member with the caption's nouns, a list of
            strings. None: do not look (saves reading the json member).
        index_dir (str, optional): Folder in which the indices are kept, see
            ``tools/dataset_converters/index_shards.py``; None: scan on every start (16 minutes for
            CC12M).
        **kwargs: Of :class:`CaptionDataset`.
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
        self.shards, self.index_dir = shards, index_dir
        self.data_root = data_root  # for self.name, before the base class sets it
        self.caption_field, self.nouns_field = caption_field, nouns_field
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

    def read_sample(self, info: dict) -> dict:
        """Read the members; the json member only where something in it is wanted."""

        def read(kind: str) -> bytes:
            return self._reader.read(info['shard'], *info[f'{kind}_range'])

        has_fields = self.caption_field or (self.nouns_field and info['fields_range'][1])
        return decode_sample(
            info['sample_key'],
            info['shard'],
            read('image'),
            b'' if self.caption_field else read('caption'),
            read('fields') if has_fields else None,
            self.caption_field,
            self.nouns_field,
        )
