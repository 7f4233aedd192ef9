"""CLIP's ordinary last layer on mmpretrain's vision transformer: python tools/test.py THIS_CONFIG.

Shows how a backbone of mmpretrain feeds the zero-shot head; needs mmpretrain and torchvision.
mmpretrain's transformer has no dense last block as MaskCLIP's, so that patches are mixed by the
last attention before they are compared with the class names: expect lower scores than from
maskclip_vit-b16_ade20k.py. Weights: tools/model_converters/clip_to_mmpretrain.py.
"""

_base_ = './maskclip_vit-b16_ade20k.py'

custom_imports = dict(imports=['code_mm', 'mmpretrain.models'], allow_failed_imports=False)

model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='weights/ViT-B-16_mmpretrain.pth'),
    backbone=dict(
        _delete_=True,
        type='mmpretrain.VisionTransformer',
        arch=dict(embed_dims=768, num_layers=12, num_heads=12, feedforward_channels=3072),
        img_size=224,
        patch_size=16,
        pre_norm=True,
        out_type='featmap',
        norm_cfg=dict(type='LN', eps=1e-5),
        layer_cfgs=dict(act_cfg=dict(type='mmpretrain.QuickGELU')),
        frozen_stages=12,
    ),
    vision_language_backbone=dict(type='CLIP', image_tower=False),
    size_divisor=16,
    decode_head=dict(
        in_channels=768,
        embed_dim=512,
        project=True,  # CLIP's own projection; it may also be trained on pixel labels
    ),
)
