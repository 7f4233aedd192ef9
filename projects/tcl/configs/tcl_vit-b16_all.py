"""TCL on all eight benchmarks in one run: python tools/test.py THIS_CONFIG TCL_CHECKPOINT.

Some of them only: --cfg-options test_cfg.only=[voc21,ade20k]
"""

_base_ = [
    '../../../configs/_base_/models/code_vit-b16.py',
    './_base_/tcl.py',
    '../../../configs/_base_/datasets/evaluation.py',
    '../../../configs/_base_/benchmarks.py',
    '../../../configs/_base_/default_runtime.py',
]

custom_imports = dict(imports=['code_mm', 'projects.tcl'])
model = dict(
    _base_.tcl,
    # a checkpoint need not have the scales of losses
    co_decomposition=dict(_base_.tcl.co_decomposition, losses=dict(_delete_=True)),
)
test_cfg = dict(type='MultiDatasetTestLoop', benchmarks={{_base_.all_benchmarks}})
val_dataloader, val_evaluator = None, None
