"""NACLIP (Hajimiri et al., WACV 2025) on all eight benchmarks in one run, no training.

python tools/test.py THIS_CONFIG, for some of them --cfg-options test_cfg.only=[voc21,ade20k]

SCLIP or ClearCLIP: --cfg-options \
    model.backbone.dense_attention.type=CorrelativeSelfAttention (or SelfSelfAttention)
"""

_base_ = '../../../configs/eval/maskclip_vit-b16_all.py'

custom_imports = dict(imports=['code_mm', 'projects.dense_clip'])
model = dict(backbone=dict(dense_attention=dict(type='NeighbourhoodAttention')))
