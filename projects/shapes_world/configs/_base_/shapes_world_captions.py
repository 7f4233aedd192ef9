"""Captions of the shapes world for training: data/shapes_world/shards (hard level, 64 pixels)."""

caption_pipeline = [
    dict(type='LoadNouns'),
    dict(type='SelectNouns', num_nouns=2),
    dict(type='LoadCaptionImage', min_size=8),
    dict(type='RandomResizedCrop', size=64, scale=(0.9, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='TokenizeCaption',
        context_length=40,
        noun_context_length=24,  # 40 - 16 learnable contexts
        guide_templates=['a {}.', 'there is a {}.', 'this shows a {}.', 'look at a {}.'],
    ),
    dict(type='PackCaptionInputs'),
]
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='CaptionShardsDataset',
        data_root='data/shapes_world',
        shards='shards/*.tar',
        pipeline=caption_pipeline,
    ),
)
