"""MaskCLIP on all eight benchmarks under SCLIP's protocol: python tools/test.py THIS_CONFIG."""

_base_ = [
    '../_base_/models/maskclip_vit-b16.py',
    '../_base_/protocols/sclip.py',
    '../_base_/default_runtime.py',
]

model = dict(
    # CLIP's own statistics, as SCLIP takes them
    data_preprocessor=dict(
        mean=[122.771, 116.746, 104.094],
        std=[68.501, 66.632, 70.323],
    ),
    decode_head={{_base_.sclip_head}},
    test_cfg={{_base_.sclip_windows}},
)
# Leave one out: test_cfg = dict(benchmarks=dict(voc20=None)). Some only: test_cfg.only=voc21,ade20k
test_cfg = dict(type='MultiDatasetTestLoop', benchmarks={{_base_.sclip_benchmarks}})
