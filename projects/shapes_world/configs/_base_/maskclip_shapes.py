"""MaskCLIP on the small CLIP of the shapes world: no training at all."""

_base_ = '../../../../configs/_base_/models/maskclip_vit-b16.py'

clip_checkpoint = '{{ fileDirname }}/../../weights/small_clip_shapes.safetensors'

model = dict(
    backbone=dict(
        embed_dim=128,
        image_size=64,
        patch_size=8,
        vision_width=128,
        vision_layers=4,
        context_length=40,
        text_width=128,
        text_layers=3,
        init_cfg=dict(checkpoint=clip_checkpoint),
    ),
    decode_head=dict(
        in_channels=128,
        # where CoDe starts on this world
        similarity_to_mask=dict(init_scale=20.0, init_bias=-5.0),
    ),
    background_threshold=0.4,
    test_cfg=dict(_delete_=True, mode='whole'),
)
