"""The backbone of projects/photos, with what it learnt from captions and names."""

_base_ = '../../../../configs/_base_/default_runtime.py'

custom_imports = dict(imports=['code_mm', 'projects.photos'])
image_text = dict(
    type='EfficientNetMiniLM',
    head_width=2048,
    init_cfg=dict(
        type='Pretrained',
        checkpoint='{{ fileDirname }}/../../weights/photos_efficientnet-lite2.safetensors',
    ),
)
