"""MaskCLIP on the hard shapes world, background by threshold: no training at all.

mim test code_mm projects/shapes_world/configs/maskclip_shapes-hard.py -C none
"""

_base_ = [
    '../../../configs/_base_/models/maskclip_vit-b16.py',
    './_base_/shapes_world_eval.py',
    './_base_/runtime.py',
]

model = dict(
    backbone=dict(**_base_.small_clip, init_cfg=_base_.small_clip_weights),
    decode_head=dict(
        in_channels=128,
        # where CoDe starts on this world
        similarity_to_mask=dict(init_scale=20.0, init_bias=-5.0),
    ),
    background_threshold=0.4,
    test_cfg=dict(_delete_=True, mode='whole'),
)
test_cfg = dict(type='TestLoop')
val_dataloader, val_evaluator = None, None
custom_hooks = [dict(type='ClassNamesHook')]
