"""The protocol of SCLIP (Wang et al., ECCV 2024) on all benchmarks, as its authors publish it.

Short side 336 (Cityscapes 560, COCO-Stuff 448), windows of 224 every 112, cosines averaged and
resized to the image's own size, softmax over all names, background by names; its class names.
"""

_base_ = [
    '../../../../configs/_base_/datasets/evaluation.py',
    '../../../../configs/_base_/benchmarks.py',
]

protocol = 'sclip'
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 336), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
val_dataloader, val_evaluator = None, None
# Keys of the model. There is no post-processing; templates are for models without learnt contexts.
sclip_model = dict(
    templates='imagenet',
    background_threshold=None,
    decode_head=dict(
        post_processor=None,
        knowledge_preserving=None,
        name_scores=dict(type='SoftmaxOverNames', scale=40.0),
    ),
    test_cfg=dict(mode='slide', crop_size=(224, 224), stride=(112, 112)),
)

sclip_benchmarks = _base_.all_benchmarks
for name in sclip_benchmarks:
    sclip_benchmarks[name].update(
        background_threshold=None,
        class_names='{{ fileDirname }}/../../class_names/sclip_' + name + '.txt',
    )
for name, side in dict(coco_stuff=448, cityscapes=560).items():
    steps = [dict(step) for step in test_pipeline]
    steps[1]['scale'] = (2048, side)
    sclip_benchmarks[name]['dataset']['pipeline'] = steps
for name, keys in dict(
    voc21=dict(scale=65.0, min_score=0.1, min_share=0.1),
    context60=dict(scale=50.0, min_score=0.1),
    coco_object=dict(scale=50.0, min_score=0.1),
).items():
    sclip_benchmarks[name]['name_scores'] = dict(type='SoftmaxOverNames', **keys)
del name, side, steps, keys
