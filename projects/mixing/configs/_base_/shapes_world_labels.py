"""Pixel labels of the shapes world for training; four nouns are held out (hard level, 64 pixels).

python projects/shapes_world/make_world.py data/shapes_mixing --train 4000 --val 300 --labelled 2000

Every pixel has a name: 16 object nouns and 7 backgrounds. Those of held-out nouns are ignored in
training (metainfo.classes); validation asks for all names.
"""

data_root = 'data/shapes_mixing'
unseen_classes = ['house', 'mushroom', 'flower', 'car']
seen_classes = [
    *('star', 'heart', 'tree', 'boat', 'fish', 'moon'),
    *('ring', 'arrow', 'cup', 'bird', 'crown', 'bottle'),
    *('grass', 'sand', 'sky', 'bricks', 'water', 'snow', 'stone'),
]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResizedCrop', size=64, scale=(0.5, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
labels = dict(
    type='ShapesWorldDataset', with_background=False, background_nouns=True, data_root=data_root
)
train_dataset = dict(
    **labels,
    data_prefix=dict(
        img_path='images/training', seg_map_path='annotations_with_backgrounds/training'
    ),
    metainfo=dict(classes=seen_classes),
    pipeline=train_pipeline,
)
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=train_dataset,
)
val_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **labels,
        data_prefix=dict(
            img_path='images/validation', seg_map_path='annotations_with_backgrounds/validation'
        ),
        pipeline=test_pipeline,
    ),
)
del labels
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
