"""COCO-Stuff 164k, validation split, 171 classes without background (thesis §4.1)."""

_base_ = './evaluation.py'

data_root = 'data/coco_stuff164k'
val_dataloader = dict(
    dataset=dict(
        type='COCOStuffDataset',
        data_root=data_root,
        data_prefix=dict(img_path='images/val2017', seg_map_path='annotations/val2017'),
    )
)
test_dataloader = val_dataloader
