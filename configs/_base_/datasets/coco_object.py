"""COCO-Object, validation split of 2017, 80 classes and background (thesis §4.1)."""

_base_ = './evaluation.py'

data_root = 'data/coco_stuff164k'
val_dataloader = dict(
    dataset=dict(
        type='COCOObjectDataset',
        data_root=data_root,
        # label maps made by tools/dataset_converters/coco_object.py, beside those of COCO-Stuff
        data_prefix=dict(img_path='images/val2017', seg_map_path='annotations/val2017'),
    )
)
test_dataloader = val_dataloader
