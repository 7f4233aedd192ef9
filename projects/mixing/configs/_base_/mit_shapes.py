"""SegFormer's backbone on pixel labels of the shapes world, of which four nouns are held out.

python projects/shapes_world/make_world.py data/shapes_mixing --train 4000 --val 300 --labelled 2000

64-pixel images, no pre-training, minutes on a CPU. Every pixel has a name: 16 object nouns and 7
backgrounds. Those of held-out nouns are ignored in training (metainfo.classes); validation asks
for all names.
"""

_base_ = ['./mit-b0.py', '../../../shapes_world/configs/_base_/runtime.py']

data_preprocessor = dict(size=(64, 64))
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(sr_ratios=[4, 2, 1, 1], drop_path_rate=0.0, init_cfg=None),
)

max_iters = 1000
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.999), weight_decay=0.01),
    clip_grad=dict(max_norm=5.0),
    paramwise_cfg=dict(flat_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=1e-5, begin=50, end=max_iters, by_epoch=False),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 2)
default_hooks = dict(checkpoint=dict(interval=max_iters, max_keep_ckpts=1))

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
