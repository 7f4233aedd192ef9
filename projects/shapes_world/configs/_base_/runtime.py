"""Every run on the shapes world: the settings of all runs, the world's own parts, its small CLIP."""

_base_ = '../../../../configs/_base_/default_runtime.py'

custom_imports = dict(imports=['code_mm', 'projects.shapes_world'])
small_clip = dict(
    type='CLIP',
    embed_dim=128,
    image_size=64,
    patch_size=8,
    vision_width=128,
    vision_layers=4,
    context_length=40,
    text_width=128,
    text_layers=3,
)
small_clip_weights = dict(
    type='Pretrained',
    checkpoint='{{ fileDirname }}/../../weights/small_clip_shapes.safetensors',
)
# ImageNet's sentences are foreign to it.
small_clip_templates = ['a {}.', 'there is a {}.', 'this shows a {}.', 'look at a {}.']
