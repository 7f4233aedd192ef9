from .caption_dataset import CaptionDataset  # noqa: F401
from .caption_list import CaptionListDataset  # noqa: F401
from .caption_shards import CaptionShardsDataset  # noqa: F401
from .clip_pretrain_batches import CLIPPretrainBatches  # noqa: F401
from .coco_object import COCOObjectDataset  # noqa: F401
from .pascal_voc20 import PascalVOC20Dataset  # noqa: F401
from .shapes_world_dataset import ShapesWorldDataset  # noqa: F401
from .transforms import *  # noqa: F403
