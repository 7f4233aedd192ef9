"""CoDe on the hard shapes world with PAMR: for tools/test.py with code_shapes-hard's checkpoint."""

_base_ = './code_shapes-hard.py'

model = dict(decode_head=dict(post_processor=dict(_delete_=True, type='PAMR')))
