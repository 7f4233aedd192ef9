"""An ordinary SegFormer on the shapes world: 23 trained classes, nothing of this project.

mim train code_mm configs/mixing/segformer_mit_shapes.py
"""

_base_ = [
    '../_base_/models/mit_shapes.py',
    '../_base_/datasets/shapes_world_labels.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/supervised_shapes.py',
]

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
default_hooks = dict(checkpoint=dict(interval={{_base_.max_iters}}, max_keep_ckpts=1))
