"""COCO's photographs with panoptic labels, read as miniatures of several benchmarks."""

from __future__ import annotations

from collections.abc import Sequence

from mmseg.datasets import BaseSegDataset, COCOStuffDataset

from code_mm.registry import DATASETS

# Both in the order of COCO's ids. COCO calls what is no thing 'sky-other-merged' and the like.
THINGS = tuple(COCOStuffDataset.METAINFO['classes'][:80])
STUFF = (
    *('banner', 'blanket', 'bridge', 'cardboard', 'counter', 'curtain', 'door', 'wooden floor'),
    *('flower', 'fruit', 'gravel', 'house', 'light', 'mirror', 'net', 'pillow', 'platform'),
    *('playing field', 'railroad', 'river', 'road', 'roof', 'sand', 'sea', 'shelf', 'snow'),
    *('stairs', 'tent', 'towel', 'brick wall', 'stone wall', 'tile wall', 'wooden wall', 'water'),
    *('window blind', 'window', 'tree', 'fence', 'ceiling', 'sky', 'cabinet', 'table', 'floor'),
    *('pavement', 'mountain', 'grass', 'dirt', 'paper', 'food', 'building', 'rock', 'wall', 'rug'),
)
# What the 200 photographs do not show.
_ABSENT = ('parking meter', 'cow', 'toaster', 'hair drier')
PRESENT_THINGS = tuple(name for name in THINGS if name not in _ABSENT)
PRESENT = (*PRESENT_THINGS, *STUFF)
# Those whose names the first figures of this project read by rows of ImageNet's classifier.
THINGS_BY_ROWS = (
    *('bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck', 'boat', 'traffic light'),
    *('bench', 'bird', 'cat', 'dog', 'elephant', 'bear', 'zebra', 'backpack', 'umbrella'),
    *('handbag', 'tie', 'skis', 'baseball glove', 'bottle', 'wine glass', 'knife', 'bowl'),
    *('banana', 'apple', 'sandwich', 'orange', 'broccoli', 'hot dog', 'pizza', 'chair', 'couch'),
    *('potted plant', 'bed', 'dining table', 'toilet', 'tv', 'laptop', 'mouse', 'remote'),
    *('keyboard', 'cell phone', 'microwave', 'oven', 'sink', 'refrigerator', 'clock', 'vase'),
    'teddy bear',
)
# Things that at most one of Flickr8k's 30 000 training captions names.
UNSEEN_THINGS = (
    *('traffic light', 'fire hydrant', 'zebra', 'giraffe', 'sports ball', 'baseball glove'),
    *('wine glass', 'fork', 'sandwich', 'broccoli', 'carrot', 'dining table', 'remote'),
    *('cell phone', 'microwave', 'oven', 'clock', 'vase', 'scissors'),
)


@DATASETS.register_module()
class COCOPhotosDataset(BaseSegDataset):
    """Photographs and label maps that ``make_benchmarks.py`` writes.

    Files hold the place of a pixel's category among COCO's 133 panoptic ones; pixels without any
    are 255, ignored. ``metainfo=dict(classes=...)`` chooses classes; pixels of the others are
    ignored, too, or class 0 where that is 'background'.

    Args:
        **kwargs: Of ``BaseSegDataset``.

    Raises:
        ValueError: A chosen class is none of COCO's.
    """

    METAINFO = dict(classes=(*THINGS, *STUFF))

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int] | None:
        """Place in the files -> label; None where all classes are kept."""
        everything = cls.METAINFO['classes']
        if new_classes is None or tuple(new_classes) == everything:
            return None
        background = new_classes[0] == 'background'
        unknown = [n for n in new_classes[background:] if n not in everything]
        if unknown:
            raise ValueError(
                f"expected classes among COCO's, 'background' in front, but got {unknown}"
            )
        new = {name: label for label, name in enumerate(new_classes)}
        others = 0 if background else 255
        return {i: new.get(n, others) for i, n in enumerate(everything)}
