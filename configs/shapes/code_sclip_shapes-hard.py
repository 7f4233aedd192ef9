"""CoDe whose image segmenter starts from the dense features of SCLIP, on the hard shapes world.

mim train code_mm configs/shapes/code_sclip_shapes-hard.py
"""

_base_ = './code_shapes-hard.py'

model = dict(image_segmenter=dict(dense_attention=dict(type='CorrelativeSelfAttention')))
