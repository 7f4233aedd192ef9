"""TCL on all eight benchmarks in one run: python tools/test.py THIS_CONFIG TCL_CHECKPOINT."""

_base_ = [
    '../_base_/models/tcl_vit-b16.py',
    '../_base_/datasets/evaluation.py',
    '../_base_/benchmarks.py',
    '../_base_/default_runtime.py',
]

model = dict(
    co_decomposition=dict(losses=dict(_delete_=True))
)  # a checkpoint need not have their scales
# Leave one out: test_cfg = dict(benchmarks=dict(voc20=None)). Some only: test_cfg.only=voc21,ade20k
test_cfg = dict(type='MultiDatasetTestLoop', benchmarks={{_base_.all_benchmarks}})
val_dataloader, val_evaluator = None, None
