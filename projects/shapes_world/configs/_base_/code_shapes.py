"""CoDe on the small CLIP of the shapes world (projects/shapes_world), 64-pixel images.

What differs from ViT-B/16: sizes, and settings found for a world of small objects.
"""

_base_ = ['../../../../configs/_base_/models/code_vit-b16.py', './runtime.py']

data_preprocessor = dict(size=(64, 64))
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(**_base_.small_clip, init_cfg=_base_.small_clip_weights),
    image_segmenter=dict(init_gate=0.3),
    co_decomposition=dict(
        region_prompt=dict(image_size=64),
        similarity_to_mask=dict(init_scale=20.0, init_bias=-5.0),
        losses=dict(
            region_feature=dict(loss_weight=1.0),
            region_image=dict(loss_weight=0.5),
            area=dict(prior=0.1, loss_weight=2.0),
        ),
    ),
    decode_head=dict(knowledge_preserving=None, post_processor=None),
    background_threshold=0.4,
    test_cfg=dict(_delete_=True, mode='whole'),
)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
    paramwise_cfg=dict(flat_decay_mult=0.0),
)
