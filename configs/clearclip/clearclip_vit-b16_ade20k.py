"""ClearCLIP (Lan et al., ECCV 2024) on ADE20K.

No training: query-query attention alone as the last block.
python tools/test.py THIS_CONFIG
"""

_base_ = '../eval/maskclip_vit-b16_ade20k.py'

model = dict(backbone=dict(dense_attention=dict(type='SelfSelfAttention')))
