"""SegFormer's backbone for the shapes world: 64-pixel images, no pre-training."""

_base_ = './mit-b0.py'

data_preprocessor = dict(size=(64, 64))
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(sr_ratios=[4, 2, 1, 1], drop_path_rate=0.0, init_cfg=None),
)
