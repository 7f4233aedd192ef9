"""SCLIP (Wang et al., ECCV 2024) on all eight benchmarks in one run.

No training: correlative self-attention in the last block.
python tools/test.py THIS_CONFIG
"""

_base_ = '../eval/maskclip_vit-b16_all.py'

model = dict(backbone=dict(dense_attention=dict(type='CorrelativeSelfAttention')))
