"""TCL on the hard shapes world with PAMR: for tools/test.py with tcl_shapes-hard's checkpoint."""

_base_ = './tcl_shapes-hard.py'

model = dict(decode_head=dict(post_processor=dict(_delete_=True, type='PAMR')))
