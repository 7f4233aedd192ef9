"""CoDe on any folder of img2dataset shards, small enough for a CPU: the small CLIP, 64 pixels.

CODE_MM_PHOTO_SHARDS=path/to/shards mim train code_mm projects/shapes_world/configs/code_photo-shards.py --gpus 0
"""

_base_ = './_base_/code_shapes.py'

train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='CaptionShardsDataset',
        data_root='{{$CODE_MM_PHOTO_SHARDS:../shared/data/photo_shards}}',
        shards='*.tar',
        pipeline=[
            dict(type='LoadNouns', tagger='auto', word_type='noun'),
            dict(type='SelectNouns', num_nouns=2),
            dict(type='LoadCaptionImage', min_size=16),
            dict(type='RandomResizedCrop', size=64, scale=(0.9, 1.0), flip_prob=0.5),
            dict(
                type='TokenizeCaption',
                context_length=40,
                noun_context_length=24,
                guide_templates='imagenet',
            ),
            dict(type='PackCaptionInputs'),
        ],
    ),
)
model = dict(co_decomposition=dict(losses=dict(area=dict(prior=0.25))))

max_iters = 20
optim_wrapper = dict(optimizer=dict(lr=1e-4))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters + 1)
default_hooks = dict(logger=dict(interval=5), checkpoint=dict(interval=max_iters))
custom_hooks = [dict(type='RandomStateHook')]
