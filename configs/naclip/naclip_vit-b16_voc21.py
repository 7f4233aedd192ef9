"""NACLIP (Hajimiri et al., WACV 2025) on Pascal VOC with background.

No training: key-key attention with a Gaussian of the patch distance.
python tools/test.py THIS_CONFIG
"""

_base_ = '../eval/maskclip_vit-b16_voc21.py'

model = dict(backbone=dict(dense_attention=dict(type='NeighbourhoodAttention')))
