"""Held-out nouns only: their pixels, and their names as the only classes.

mim test code_mm configs/mixing/zero-shot-head_mit_shapes_unseen.py --checkpoint CHECKPOINT
"""

_base_ = './zero-shot-head_mit_shapes.py'

test_dataloader = dict(dataset=dict(metainfo=dict(classes={{_base_.unseen_classes}})))
