"""PAMR after mmseg's SegFormer (MiT-B0, ADE20K), with the checkpoint of mmseg's zoo.

mim test code_mm projects/mixing/configs/pamr_segformer_mit-b0_ade20k.py --checkpoint CHECKPOINT

CHECKPOINT: https://mmassets.onedl.ai/mmsegmentation/v0.5/segformer/
segformer_mit-b0_512x512_160k_ade20k/segformer_mit-b0_512x512_160k_ade20k_20210726_101530-8ffa8fda.pth
"""

_base_ = ['./_base_/ade20k_labels.py', '../../../configs/_base_/default_runtime.py']

model = dict(
    type='WindowedEncoderDecoder',  # mmseg's EncoderDecoder + post_processor
    decode_head=dict(
        type='SegformerHead',
        channels=256,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=dict(type='SyncBN'),
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
    post_processor=dict(type='PAMR', num_iter=10, dilations=(1, 2, 4, 8, 12, 24)),
    # 150 planes of a large image: labels are what is kept
    test_cfg=dict(keep_scores=False),
)
# evaluation only: no training data is needed
train_dataloader, train_cfg, optim_wrapper, param_scheduler = None, None, None, None
test_cfg = dict(type='TestLoop')
val_dataloader, val_cfg, val_evaluator = None, None, None
