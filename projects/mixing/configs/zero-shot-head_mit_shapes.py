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
        class_names={{_base_.seen_classes}},
        text_encoder=dict(
            type='code_mm.CLIPTextEncoder',
            context_length=40,
            width=128,
            layers=3,
            embed_dim=128,
            init_cfg=dict(type='Pretrained', checkpoint=clip_checkpoint),
        ),
        templates=['a {}.', 'there is a {}.', 'this shows a {}.', 'look at a {}.'],
        # logits of the cross-entropy: 20 times the cosine at the start
        similarity_to_mask=dict(type='SimilarityToMask', init_scale=20.0, init_bias=-5.0),
    ),
)
custom_hooks = [dict(type='ClassNamesHook'), dict(type='RandomStateHook')]
default_hooks = dict(checkpoint=dict(interval={{_base_.max_iters}}, max_keep_ckpts=1))
