"""CoDe whose image segmenter starts from the dense features of NACLIP, on the hard shapes world.

mim train code_mm projects/dense_clip/configs/code_naclip_shapes-hard.py

From SCLIP or ClearCLIP: --cfg-options \
    model.image_segmenter.tail.dense_attention.type=CorrelativeSelfAttention (or SelfSelfAttention)
"""

_base_ = '../../shapes_world/configs/code_shapes-hard.py'

custom_imports = dict(imports=['code_mm', 'projects.shapes_world', 'projects.dense_clip'])
model = dict(image_segmenter=dict(tail=dict(dense_attention=dict(type='NeighbourhoodAttention'))))
