"""Zero-shot evaluation of CoDe on coco_stuff: python tools/test.py THIS_CONFIG CHECKPOINT."""

_base_ = [
    '../_base_/models/code_vit-b16.py',
    '../_base_/datasets/coco_stuff.py',
    '../_base_/default_runtime.py',
]

test_cfg = dict(type='TestLoop')
val_dataloader, val_evaluator = None, None
custom_hooks = [dict(type='ClassNamesHook')]
