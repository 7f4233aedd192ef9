"""Cityscapes, validation split, 19 classes without background (thesis §4.1)."""

_base_ = './evaluation.py'

data_root = 'data/cityscapes'
val_dataloader = dict(
    dataset=dict(
        type='CityscapesDataset',
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
    )
)
test_dataloader = val_dataloader
