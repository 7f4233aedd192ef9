"""The zero-shot head on SegFormer's backbone, trained with pixel labels of the shapes world.

mim train code_mm projects/mixing/configs/zero-shot-head_mit_shapes.py
"""

_base_ = [
    './_base_/mit_shapes.py',
    './_base_/shapes_world_labels.py',
    '../../shapes_world/configs/_base_/runtime.py',
]

clip_checkpoint = '{{ fileDirname }}/../../shapes_world/weights/small_clip_shapes.safetensors'
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
        type='CLIP',
        image_tower=False,
        embed_dim=128,
        context_length=40,
        text_width=128,
        text_layers=3,
        init_cfg=dict(type='Pretrained', checkpoint=clip_checkpoint),
    ),
    class_names={{_base_.seen_classes}},
    templates=['a {}.', 'there is a {}.', 'this shows a {}.', 'look at a {}.'],
)
custom_hooks = [dict(type='ClassNamesHook'), dict(type='RandomStateHook')]
default_hooks = dict(checkpoint=dict(interval={{_base_.max_iters}}, max_keep_ckpts=1))
