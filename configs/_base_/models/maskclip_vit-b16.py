"""MaskCLIP (Zhou et al., ECCV 2022) on CLIP ViT-B/16: no training at all."""

_base_ = '../image_statistics.py'

model = dict(
    type='ZeroShotSegmentor',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        **_base_.image_statistics,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(type='CLIP', init_cfg=dict(type='Pretrained', checkpoint='clip_vit-b16_openai')),
    decode_head=dict(
        type='ZeroShotHead',
        in_channels=512,
        similarity_to_mask=dict(
            type='SimilarityToMask', init_scale=10.0, init_bias=-2.5, learnable=False
        ),
    ),
    templates='custom',
    background_threshold=None,
    test_cfg=dict(mode='slide', crop_size=(448, 448), stride=(224, 224), window_batch_size=4),
)
