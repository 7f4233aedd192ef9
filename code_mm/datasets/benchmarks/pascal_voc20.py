"""PASCAL VOC 2012 without its background class."""

from mmseg.datasets import BaseSegDataset, PascalVOCDataset

from code_mm.registry import DATASETS


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
