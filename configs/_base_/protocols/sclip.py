"""The protocol of SCLIP (Wang et al., ECCV 2024) on all benchmarks, as its authors publish it.

Short side 336 (Cityscapes 560, COCO-Stuff 448), windows of 224 every 112, cosines averaged and
resized to the image's own size, softmax over all names, background by names; its class names.
"""

from mmengine import Config

protocol = 'sclip'
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 336), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(pipeline=test_pipeline),
)
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
# Keys of the model. There is no post-processing; templates are for models without learnt contexts.
sclip_head = dict(
    templates='imagenet',
    background_threshold=None,
    post_processor=None,
    knowledge_preserving=None,
    name_scores=dict(type='SoftmaxOverNames', scale=40.0),
)
sclip_windows = dict(mode='slide', crop_size=(224, 224), stride=(112, 112))

sclip_benchmarks = dict(
    voc21=dict(name_scores=dict(type='SoftmaxOverNames', scale=65.0, min_score=0.1, min_share=0.1)),
    context60=dict(name_scores=dict(type='SoftmaxOverNames', scale=50.0, min_score=0.1)),
    coco_object=dict(name_scores=dict(type='SoftmaxOverNames', scale=50.0, min_score=0.1)),
    voc20=dict(),
    context59=dict(),
    coco_stuff=dict(),
    cityscapes=dict(),
    ade20k=dict(),
)
short_sides = dict(coco_stuff=448, cityscapes=560)
for name in sclip_benchmarks:
    dataset = Config.fromfile(
        '{{ fileDirname }}/../datasets/' + name + '.py'
    ).test_dataloader.dataset
    dataset.pop('pipeline')
    if name in short_sides:
        dataset['pipeline'] = [dict(step) for step in test_pipeline]
        dataset['pipeline'][1]['scale'] = (2048, short_sides[name])
    sclip_benchmarks[name].update(
        dataset=dataset, background_threshold=None, class_names=f'sclip_{name}'
    )
del Config, name, dataset, short_sides
