"""PASCAL Context, validation split, 59 classes and background (thesis §4.1)."""

_base_ = './evaluation.py'

data_root = 'data/VOCdevkit/VOC2010'
val_dataloader = dict(
    dataset=dict(
        type='PascalContextDataset',
        data_root=data_root,
        ann_file='ImageSets/SegmentationContext/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext'),
    )
)
test_dataloader = val_dataloader
