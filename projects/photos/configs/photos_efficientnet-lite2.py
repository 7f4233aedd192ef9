"""Photographs as they come: nothing is trained on masks. The miniatures of COCO in one run.

python tools/test.py THIS_CONFIG, for some of them --cfg-options test_cfg.only=[object,all]
"""

_base_ = [
    './_base_/photos.py',
    './_base_/coco_photos.py',
    '../../../configs/_base_/image_statistics.py',
]

model = dict(
    type='RowsSegmentor',
    data_preprocessor=dict(
        type='SegDataPreProcessor', **_base_.image_statistics, pad_val=0, seg_pad_val=255
    ),
    backbone=_base_.image_text,
    decode_head=dict(
        type='WholeImageHead',
        in_channels=1280,
        image_weight=0.75,
        best_cell_weight=0.25,
        share_weight=0.02,  # the inverse of the masks' scale: a prior
        least_cosine=0.12,
        upsampling=8,  # a quarter of the image's pixels on a side
        similarity_to_mask=dict(type='SoftmaxMask', scale=50.0),
        post_processor=dict(type='PAMR', num_iter=10, dilations=(1, 2, 4, 8)),
    ),
    whole_sides=[288, 224],
    templates=['{}', 'a {}', 'a photo of a {}'],
    test_cfg=dict(mode='whole'),
)
