"""The zero-shot head on SegFormer's backbone, trained with pixel labels of the shapes world.

mim train code_mm projects/mixing/configs/zero-shot-head_mit_shapes.py
"""

_base_ = './_base_/mit_shapes.py'

model = dict(
    type='ZeroShotSegmentor',
    decode_head=dict(
        type='ZeroShotHead',
        input_transform='resize_concat',
        embed_dim=128,
        project=True,
        # logits of the cross-entropy: 20 times the cosine at the start
        similarity_to_mask=dict(type='SimilarityToMask', init_scale=20.0, init_bias=-5.0),
    ),
    vision_language_backbone=dict(
        **_base_.small_clip, image_tower=False, init_cfg=_base_.small_clip_weights
    ),
    class_names={{_base_.seen_classes}},
    templates=_base_.small_clip_templates,
)
custom_hooks = [dict(type='ClassNamesHook'), dict(type='RandomStateHook')]
