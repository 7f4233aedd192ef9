"""SegFormer on ADE20K's pixel labels, mmseg's pipelines; 15 classes are held out.

The folders are those of mmseg: data/ade/ADEChallengeData2016/{images,annotations}/{training,
validation}. Pixels of held-out classes are ignored in training (metainfo.classes).
"""

_base_ = './mit-b0.py'

from mmseg.datasets import ADE20KDataset  # noqa: E402

ade20k_classes = ADE20KDataset.METAINFO['classes']
# One class in ten. Name classes of your own here.
unseen_classes = [*ade20k_classes[9::10]]
seen_classes = [*filter(lambda name: name not in unseen_classes, ade20k_classes)]
del ADE20KDataset, ade20k_classes

data_root = 'data/ade/ADEChallengeData2016'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(512, 512), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ADE20KDataset',
        data_root=data_root,
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
        metainfo=dict(classes=seen_classes),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type='ADE20KDataset',
        data_root=data_root,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
    ),
)
test_dataloader = val_dataloader
