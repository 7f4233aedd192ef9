"""MaskCLIP on all eight benchmarks in one run: python tools/test.py THIS_CONFIG."""

_base_ = [
    '../_base_/models/maskclip_vit-b16.py',
    '../_base_/benchmarks.py',
    '../_base_/default_runtime.py',
]

# Leave one out: test_cfg = dict(benchmarks=dict(voc20=None)). Some only: test_cfg.only=voc21,ade20k
test_cfg = dict(type='MultiDatasetTestLoop', benchmarks={{_base_.all_benchmarks}})
# What all benchmarks share.
test_pipeline = {{_base_.benchmark_pipeline}}
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(pipeline=test_pipeline),
)
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
