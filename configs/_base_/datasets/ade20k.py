"""ADE20K, validation split, 150 classes without background (thesis §4.1)."""

_base_ = './evaluation.py'

data_root = 'data/ade/ADEChallengeData2016'
val_dataloader = dict(
    dataset=dict(
        type='ADE20KDataset',
        data_root=data_root,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
    )
)
test_dataloader = val_dataloader
