"""Held-out nouns only: their pixels, and their names as the only classes.

mim test code_mm configs/mixing/zero-shot-head_mit_shapes_unseen.py --checkpoint CHECKPOINT
"""

_base_ = './zero-shot-head_mit_shapes.py'

test_dataloader = dict(dataset=dict(metainfo=dict(classes={{_base_.unseen_classes}})))

# evaluation only: no training data is needed
train_dataloader, train_cfg, optim_wrapper, param_scheduler = None, None, None, None
