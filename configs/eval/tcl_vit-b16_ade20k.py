"""Zero-shot evaluation of TCL on ade20k: python tools/test.py THIS_CONFIG TCL_CHECKPOINT."""

_base_ = [
    '../_base_/models/tcl_vit-b16.py',
    '../_base_/datasets/ade20k.py',
    '../_base_/default_runtime.py',
]

model = dict(
    co_decomposition=dict(losses=dict(_delete_=True))
)  # a checkpoint need not have their scales
test_cfg = dict(type='TestLoop')
val_dataloader, val_evaluator = None, None
custom_hooks = [dict(type='ClassNamesHook')]
