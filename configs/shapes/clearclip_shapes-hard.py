"""ClearCLIP on the hard shapes world, background by threshold; all else as in MaskCLIP's config.

mim test code_mm configs/shapes/clearclip_shapes-hard.py -C none
"""

_base_ = './maskclip_shapes-hard.py'

model = dict(backbone=dict(dense_attention=dict(type='SelfSelfAttention')))
