"""An ordinary SegFormer on the shapes world: 23 trained classes, nothing of this project.

mim train code_mm projects/mixing/configs/segformer_mit_shapes.py
"""

_base_ = './_base_/mit_shapes.py'

model = dict(
    type='EncoderDecoder',
    decode_head=dict(
        type='SegformerHead',
        channels=64,
        num_classes=23,
        norm_cfg=dict(type='BN'),
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
)
train_dataloader = dict(dataset=dict(metainfo=None))  # no class is held out
