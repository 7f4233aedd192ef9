"""MaskCLIP on the small CLIP of the shapes world: no training at all."""

_base_ = '../../../../configs/_base_/models/maskclip_vit-b16.py'

clip_checkpoint = '{{ fileDirname }}/../../weights/small_clip_shapes.safetensors'

model = dict(
    backbone=dict(
        image_size=64,
        patch_size=8,
        width=128,
        layers=4,
        embed_dim=128,
        init_cfg=dict(checkpoint=clip_checkpoint),
    ),
    decode_head=dict(
        in_channels=128,
        text_encoder=dict(
            context_length=40,
            width=128,
            layers=3,
            embed_dim=128,
            init_cfg=dict(checkpoint=clip_checkpoint),
        ),
        # where CoDe starts on this world
        similarity_to_mask=dict(init_scale=20.0, init_bias=-5.0),
        background_threshold=0.4,
    ),
    test_cfg=dict(_delete_=True, mode='whole'),
)
