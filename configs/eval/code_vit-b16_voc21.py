"""Zero-shot evaluation of CoDe on voc21: python tools/test.py THIS_CONFIG CHECKPOINT."""

_base_ = [
    '../_base_/models/code_vit-b16.py',
    '../_base_/datasets/voc21.py',
    '../_base_/default_runtime.py',
]

model = dict(background_threshold=0.4)
test_cfg = dict(type='TestLoop')
val_dataloader, val_evaluator = None, None
custom_hooks = [dict(type='ClassNamesHook')]
