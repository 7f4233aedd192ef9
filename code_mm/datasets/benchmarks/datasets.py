"""Data sets of benchmarks that MMSegmentation does not have."""

from mmseg.datasets import BaseSegDataset, COCOStuffDataset, PascalVOCDataset

from code_mm.registry import DATASETS


def _colour(label: int) -> list[int]:
    """PASCAL VOC's colour map, all different; COCO-Stuff's gives person and bicycle one colour."""
    bits = [(label >> place) & 1 for place in range(9)]
    return [sum(bits[c + 3 * k] << (7 - k) for k in range(3)) for c in range(3)]


@DATASETS.register_module()
class COCOObjectDataset(BaseSegDataset):
    """COCO-Object: 80 categories and everything else as background (thesis §4.1).

    Label files are made from COCO's instance annotations by
    ``tools/dataset_converters/coco_object.py``: 0 is the background, i + 1 the i-th category in the
    order of the category ids. No pixel is ignored.
    """

    METAINFO = dict(
        # COCO-Stuff begins with COCO's own categories, in the order of their ids
        classes=('background', *COCOStuffDataset.METAINFO['classes'][:80]),
        palette=[_colour(label) for label in range(81)],
    )

    def __init__(
        self, img_suffix: str = '.jpg', seg_map_suffix: str = '_instanceTrainIds.png', **kwargs
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)


@DATASETS.register_module()
class PascalVOC20Dataset(BaseSegDataset):
    """The 20 classes of PASCAL VOC; background pixels are ignored (thesis §4.1).

    Files and names are those of mmseg's ``PascalVOCDataset``. In the label files 0 is the
    background and 255 the unlabelled border; ``reduce_zero_label`` makes both 255, and class i of
    the files (from 1) label i - 1.

    Args:
        ann_file (str): List of image names, e.g. ``ImageSets/Segmentation/val.txt``.
        reduce_zero_label (bool): False only for files in which the background already is 255 and
            the classes count from 0.
        **kwargs: Of ``BaseSegDataset``.

    Raises:
        ValueError: If there is no ``ann_file``: VOC's folders hold the training images too.
    """

    METAINFO = dict(
        classes=PascalVOCDataset.METAINFO['classes'][1:],
        palette=PascalVOCDataset.METAINFO['palette'][1:],
    )

    def __init__(self, ann_file: str, reduce_zero_label: bool = True, **kwargs) -> None:
        if not ann_file:
            raise ValueError(
                "expected the list of a split as ann_file ('ImageSets/Segmentation/val.txt'), but "
                f"got {ann_file!r}: VOC's image folder holds the images of all splits"
            )
        super().__init__(ann_file=ann_file, reduce_zero_label=reduce_zero_label, **kwargs)
