"""PAMR after the SegFormer of segformer_mit_shapes.py, with its checkpoint; no further training.

mim test code_mm configs/mixing/pamr_segformer_mit_shapes.py --checkpoint CHECKPOINT
"""

_base_ = './segformer_mit_shapes.py'

model = dict(type='PostProcessedSegmentor', post_processor=dict(type='PAMR'))

# evaluation only: no training data is needed
train_dataloader, train_cfg, optim_wrapper, param_scheduler = None, None, None, None
