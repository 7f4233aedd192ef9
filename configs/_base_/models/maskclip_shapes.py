"""MaskCLIP on the small CLIP of the shapes world: no training at all."""

clip_checkpoint = '{{ fileDirname }}/../../clip/weights/small_clip_shapes.safetensors'

model = dict(
    type='ZeroShotSegmentor',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        test_cfg=dict(size_divisor=8),
    ),
    backbone=dict(
        type='CLIPImageEncoder',
        image_size=64,
        patch_size=8,
        width=128,
        layers=4,
        embed_dim=128,
        init_cfg=dict(type='Pretrained', checkpoint=clip_checkpoint),
    ),
    decode_head=dict(
        type='ZeroShotHead',
        in_channels=128,
        text_encoder=dict(
            type='code_mm.CLIPTextEncoder',
            context_length=40,
            width=128,
            layers=3,
            embed_dim=128,
            init_cfg=dict(type='Pretrained', checkpoint=clip_checkpoint),
        ),
        templates=['a {}.', 'there is a {}.', 'this shows a {}.', 'look at a {}.'],
        similarity_to_mask=dict(
            type='SimilarityToMask', init_scale=10.0, init_bias=-2.5, learnable=False
        ),
        background_threshold=0.4,
    ),
    test_cfg=dict(mode='whole'),
)
