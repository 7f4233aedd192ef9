"""The zero-shot head on SegFormer's backbone, trained with pixel labels of ADE20K.

Class names instead of a trained classifier: validation asks for all 150 classes, 15 of which no
label has shown. The text tower is CLIP ViT-B/16's (docs/weights.md).

mim train code_mm projects/mixing/configs/zero-shot-head_mit-b0_ade20k.py --launcher pytorch --gpus 8
"""

_base_ = ['./_base_/ade20k_labels.py', '../../../configs/_base_/default_runtime.py']

model = dict(
    type='ZeroShotSegmentor',
    decode_head=dict(
        type='ZeroShotHead',
        input_transform='resize_concat',
        embed_dim=512,
        project=True,
        # logits of the cross-entropy: 20 times the cosine at the start
        similarity_to_mask=dict(type='SimilarityToMask', init_scale=20.0, init_bias=-5.0),
    ),
    vision_language_backbone=dict(
        type='CLIP',
        image_tower=False,
        init_cfg=dict(type='Pretrained', checkpoint='clip_vit-b16_openai'),
    ),
    class_names={{_base_.seen_classes}},
    templates='imagenet',
)
custom_hooks = [dict(type='ClassNamesHook'), dict(type='RandomStateHook')]
