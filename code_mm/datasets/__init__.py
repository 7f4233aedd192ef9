from .benchmarks import COCOObjectDataset, PascalVOC20Dataset  # noqa: F401
from .captions.caption_dataset import CaptionDataset  # noqa: F401
from .captions.caption_list import CaptionListDataset  # noqa: F401
from .captions.caption_shards import CaptionShardsDataset  # noqa: F401
from .captions.caption_stream import CaptionStreamDataset  # noqa: F401
from .transforms import *  # noqa: F403
