"""PASCAL VOC 2012, validation split, 20 classes and background (thesis §4.1)."""

_base_ = './evaluation.py'

data_root = 'data/VOCdevkit/VOC2012'
val_dataloader = dict(
    dataset=dict(
        type='PascalVOCDataset',
        data_root=data_root,
        ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
    )
)
test_dataloader = val_dataloader
