"""TCL on the hard shapes world, matched to CoDe's config: same images, iterations, optimiser.

mim train code_mm projects/tcl/configs/tcl_shapes-hard.py
"""

_base_ = ['../../shapes_world/configs/code_shapes-hard.py', './_base_/tcl.py']

custom_imports = dict(imports=['code_mm', 'projects.shapes_world', 'projects.tcl'])
# unit-length embeddings are averaged, as in the study and for the other methods
model = dict(_base_.tcl, templates=_base_.small_clip_templates, raw_template_mean=False)
tokenize = dict(
    type='TokenizeCaption', context_length=40, noun_context_length=40, guide_templates=['{}']
)
caption_pipeline = [
    dict(type='CaptionAsNoun'),
    dict(type='LoadCaptionImage', min_size=8),
    dict(type='RandomResizedCrop', size=64, scale=(0.9, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    tokenize,
    dict(type='PackCaptionInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=caption_pipeline))
pictures = _base_.custom_hooks[-1]
pictures['dataset']['pipeline'] = [
    dict(type='CaptionAsNoun'),
    dict(type='LoadCaptionImage', min_size=8),
    tokenize,
    dict(type='PackCaptionInputs'),
]
custom_hooks = [dict(type='ClassNamesHook'), dict(type='RandomStateHook'), pictures]
del tokenize, pictures
