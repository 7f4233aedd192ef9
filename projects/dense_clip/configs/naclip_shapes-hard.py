"""NACLIP on the hard shapes world, background by threshold; all else as in MaskCLIP's config.

mim test code_mm projects/dense_clip/configs/naclip_shapes-hard.py -C none

SCLIP or ClearCLIP: --cfg-options \
    model.backbone.dense_attention.type=CorrelativeSelfAttention (or SelfSelfAttention)
"""

_base_ = '../../shapes_world/configs/maskclip_shapes-hard.py'

custom_imports = dict(imports=['code_mm', 'projects.shapes_world', 'projects.dense_clip'])
model = dict(backbone=dict(dense_attention=dict(type='NeighbourhoodAttention')))
