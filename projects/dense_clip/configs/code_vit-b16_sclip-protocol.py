"""CoDe on all eight benchmarks under SCLIP's protocol: python tools/test.py THIS_CONFIG CHECKPOINT.

Some of them only: --cfg-options test_cfg.only=[voc21,coco_object]
"""

_base_ = [
    '../../../configs/_base_/models/code_vit-b16.py',
    './_base_/sclip_protocol.py',
    '../../../configs/_base_/default_runtime.py',
]

custom_imports = dict(imports=['code_mm', 'projects.dense_clip'])
model = {{_base_.sclip_model}}
test_cfg = dict(type='MultiDatasetTestLoop', benchmarks={{_base_.sclip_benchmarks}})
