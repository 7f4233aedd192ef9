"""NACLIP (Hajimiri et al., WACV 2025) on ADE20K.

No training: key-key attention with a Gaussian of the patch distance.
python tools/test.py THIS_CONFIG
"""

_base_ = '../eval/maskclip_vit-b16_ade20k.py'

model = dict(backbone=dict(dense_attention=dict(type='NeighbourhoodAttention')))
