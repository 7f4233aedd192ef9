"""MaskCLIP on the hard shapes world, background by threshold.

mim test code_mm configs/shapes/maskclip_shapes-hard.py -C none
"""

_base_ = [
    '../_base_/models/maskclip_shapes.py',
    '../_base_/datasets/shapes_world_eval.py',
    '../_base_/default_runtime.py',
]

test_cfg = dict(type='TestLoop')
val_dataloader, val_evaluator = None, None
custom_hooks = [dict(type='ClassNamesHook')]
