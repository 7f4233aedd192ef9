"""TCL on captioned photographs: same images, iterations and optimiser as CoDe's config."""

_base_ = ['./code_flickr8k.py', '../../tcl/configs/_base_/tcl.py']

custom_imports = dict(imports=['code_mm', 'projects.photos', 'projects.tcl'])
model = dict(_base_.tcl, templates=['{}', 'a {}', 'a photo of a {}'], raw_template_mean=False)
caption_pipeline = [
    dict(type='CaptionAsNoun'),
    dict(type='LoadCaptionImage', min_size=16),
    dict(type='RandomResizedCrop', size=224, scale=(0.5, 1.0), flip_prob=0.5),
    dict(
        type='TokenizeCaption',
        context_length=64,
        noun_context_length=64,
        guide_templates=['{}'],
        tokenizer=_base_.tokenizer,
    ),
    dict(type='PackCaptionInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=caption_pipeline))
