"""COCO's 80 object categories as a semantic segmentation benchmark."""

from mmseg.datasets import BaseSegDataset, COCOStuffDataset

from code_mm.registry import DATASETS

# COCO-Stuff begins with COCO's own categories, in the order of their ids.
NUM_CATEGORIES = 80
SUFFIX = '_instanceTrainIds.png'


def _colour(label: int) -> list[int]:
    """PASCAL VOC's colour map, all different; COCO-Stuff's gives person and bicycle one colour."""
    bits = [(label >> place) & 1 for place in range(8)]
    return [sum(bits[c + 3 * k] << (7 - k) for k in range(3) if c + 3 * k < 8) for c in range(3)]


@DATASETS.register_module()
class COCOObjectDataset(BaseSegDataset):
    """COCO-Object: 80 categories and everything else as background (thesis §4.1).

    Label files are made from COCO's instance annotations by
    ``tools/dataset_converters/coco_object.py``: 0 is the background, i + 1 the i-th category in the
    order of the category ids. No pixel is ignored.

    Args:
        img_suffix (str): Of the images.
        seg_map_suffix (str): Of the label files.
        **kwargs: Of ``BaseSegDataset``.
    """

    METAINFO = dict(
        classes=('background', *COCOStuffDataset.METAINFO['classes'][:NUM_CATEGORIES]),
        palette=[_colour(label) for label in range(1 + NUM_CATEGORIES)],
    )

    def __init__(self, img_suffix: str = '.jpg', seg_map_suffix: str = SUFFIX, **kwargs) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
