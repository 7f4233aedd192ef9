"""ADE20K's held-out classes only: their pixels, and their names as the only classes.

mim test code_mm configs/mixing/zero-shot-head_mit-b0_ade20k_unseen.py --checkpoint CHECKPOINT
"""

_base_ = './zero-shot-head_mit-b0_ade20k.py'

test_dataloader = dict(dataset=dict(metainfo=dict(classes={{_base_.unseen_classes}})))

# evaluation only: no training data is needed
train_dataloader, train_cfg, optim_wrapper, param_scheduler = None, None, None, None
