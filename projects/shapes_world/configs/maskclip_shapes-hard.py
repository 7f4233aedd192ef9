"""MaskCLIP on the hard shapes world, background by threshold.

mim test code_mm projects/shapes_world/configs/maskclip_shapes-hard.py -C none
"""

_base_ = [
    './_base_/maskclip_shapes.py',
    './_base_/shapes_world_eval.py',
    './_base_/runtime.py',
]

test_cfg = dict(type='TestLoop')
val_dataloader, val_evaluator = None, None
custom_hooks = [dict(type='ClassNamesHook')]
