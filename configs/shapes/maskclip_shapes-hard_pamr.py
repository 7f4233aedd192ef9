"""MaskCLIP with PAMR on the hard shapes world, background by threshold."""

_base_ = './maskclip_shapes-hard.py'

model = dict(decode_head=dict(post_processor=dict(type='PAMR')))
