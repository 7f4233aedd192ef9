"""MaskCLIP with PAMR on the hard shapes world, background by the names of all backgrounds."""

_base_ = './maskclip_shapes-hard_names.py'

model = dict(decode_head=dict(post_processor=dict(type='PAMR')))
