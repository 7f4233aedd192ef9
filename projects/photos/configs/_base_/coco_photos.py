"""Miniatures of COCO-Object, COCO-Stuff and of unseen words: make_benchmarks.py writes the files.

All classes that the 200 photographs show; scores by the same loop as the eight of the thesis.
"""

_base_ = '../../../../configs/_base_/datasets/evaluation.py'

from projects.photos.datasets import (  # noqa: E402
    PRESENT,
    PRESENT_THINGS,
    THINGS_BY_ROWS,
    UNSEEN_THINGS,
)

protocol = None  # none of the named ones: class names and photographs are few
coco_photos = dict(
    type='COCOPhotosDataset',
    data_root='data/coco_photos',
    ann_file='split.txt',
    data_prefix=dict(img_path='images', seg_map_path='annotations'),
)
miniatures = dict(
    object=dict(
        background_threshold=0.35,
        dataset=dict(**coco_photos, metainfo=dict(classes=['background', *PRESENT_THINGS])),
    ),
    all=dict(dataset=dict(**coco_photos, metainfo=dict(classes=[*PRESENT]))),
    unseen=dict(dataset=dict(**coco_photos, metainfo=dict(classes=[*UNSEEN_THINGS]))),
    # the figures this project began with
    by_rows=dict(dataset=dict(**coco_photos, metainfo=dict(classes=[*THINGS_BY_ROWS]))),
    by_rows_background=dict(
        background_threshold=0.35,
        dataset=dict(**coco_photos, metainfo=dict(classes=['background', *THINGS_BY_ROWS])),
    ),
)
del PRESENT, PRESENT_THINGS, THINGS_BY_ROWS, UNSEEN_THINGS
test_cfg = dict(type='MultiDatasetTestLoop', benchmarks=miniatures)
val_dataloader, val_evaluator = None, None
