"""MaskCLIP on all eight benchmarks under SCLIP's protocol: python tools/test.py THIS_CONFIG.

Some of them only: --cfg-options test_cfg.only=[voc21,coco_object]
"""

_base_ = [
    '../../../configs/_base_/models/maskclip_vit-b16.py',
    './_base_/sclip_protocol.py',
    '../../../configs/_base_/default_runtime.py',
]

custom_imports = dict(imports=['code_mm', 'projects.dense_clip'])
model = dict(
    **_base_.sclip_model,
    # CLIP's own statistics, as SCLIP takes them
    data_preprocessor=dict(
        mean=[122.771, 116.746, 104.094],
        std=[68.501, 66.632, 70.323],
    ),
)
test_cfg = dict(type='MultiDatasetTestLoop', benchmarks={{_base_.sclip_benchmarks}})
