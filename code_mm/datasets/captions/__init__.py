"""Image-caption pairs: from a list, from indexed shards, or as a stream of shards."""

from .caption_dataset import CaptionDataset
from .caption_list import CaptionListDataset
from .caption_shards import CaptionShardsDataset
from .caption_stream import CaptionStreamDataset

__all__ = ['CaptionDataset', 'CaptionListDataset', 'CaptionShardsDataset', 'CaptionStreamDataset']
