"""NACLIP (Hajimiri et al., WACV 2025) on all eight benchmarks in one run.

No training: key-key attention with a Gaussian of the patch distance.
python tools/test.py THIS_CONFIG
"""

_base_ = '../eval/maskclip_vit-b16_all.py'

model = dict(backbone=dict(dense_attention=dict(type='NeighbourhoodAttention')))
