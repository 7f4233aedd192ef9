"""CoDe on all eight benchmarks under SCLIP's protocol: python tools/test.py THIS_CONFIG CHECKPOINT."""

_base_ = [
    '../_base_/models/code_vit-b16.py',
    '../_base_/protocols/sclip.py',
    '../_base_/default_runtime.py',
]

model = dict(
    decode_head={{_base_.sclip_head}},
    test_cfg={{_base_.sclip_windows}},
)
# Leave one out: test_cfg = dict(benchmarks=dict(voc20=None)). Some only: test_cfg.only=voc21,ade20k
test_cfg = dict(type='MultiDatasetTestLoop', benchmarks={{_base_.sclip_benchmarks}})
