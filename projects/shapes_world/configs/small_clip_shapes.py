"""A small CLIP for the shapes world (64 pixels, 16 nouns), from nothing.

python tools/train.py projects/shapes_world/configs/small_clip_shapes.py
"""

_base_ = ['./_base_/runtime.py', '../../../configs/_base_/image_statistics.py']

nouns = [
    *('star', 'heart', 'tree', 'house', 'boat', 'fish', 'moon', 'mushroom'),
    *('ring', 'arrow', 'cup', 'flower', 'bird', 'crown', 'bottle', 'car'),
]
# every word of the captions: only these rows of the token embedding are trained
vocabulary = [
    *nouns,
    'grass sand sky bricks water snow stone',
    'red green blue yellow orange purple white black plain striped dotted',
    'small big little large a an and the there is here we see this shows look at can . ,',
    'near beside next to with close above over below under left of on in before',
]

model = dict(
    type='CLIPPretrainer',
    clip=dict(**_base_.small_clip, frozen=False),
    vocabulary=vocabulary,
    vocabulary_templates='imagenet',
    nouns=nouns,
    template='a {}.',
    autocast_dtype='bfloat16',
    data_preprocessor=dict(type='mmengine.ImgDataPreprocessor', **_base_.image_statistics),
)

# Curriculum: single objects first; then whole images, whose nouns are all positives, one at a time
# in a short text; every fifth batch has whole captions. Single objects come back all the time.
# Without the short texts the model learns backgrounds and colours and hardly any shape.
crop = dict(world=dict(level='crop', size=32, seed=1), count=60000, noun_templates=True)
empty = dict(
    world=dict(level='crop', size=32, seed=1, num_objects=(0, 0)), count=10000, noun_templates=True
)
few = dict(world=dict(level='few', size=64, seed=1), count=40000)
single_objects = dict(crop=0.85, empty=0.15)
several_objects = dict(few_nouns=1.0)
captions = dict(few=1.0)
stages = [
    dict(until=1500, batches=[single_objects]),
    dict(
        until=6500,
        batches=[several_objects, several_objects, single_objects, several_objects, captions],
    ),
]
max_iters = 6500
batches = dict(
    type='CLIPPretrainBatches',
    patch_size=_base_.small_clip.patch_size,
    image_size=_base_.small_clip.image_size,
    context_length=_base_.small_clip.context_length,
    cache_dir='data/clip_pretrain',
)
loader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='first_item'),
)
train_dataloader = dict(
    **loader,
    dataset=dict(
        **batches,
        sources=dict(crop=crop, empty=empty, few=few, few_nouns=dict(**few, noun_templates=True)),
        stages=stages,
        batch_size=128,
    ),
)
val_dataloader = dict(
    **loader,
    dataset=dict(
        **batches,
        sources=dict(hard=dict(world=dict(level='hard', size=64, seed=1), count=512)),
        stages=[dict(until=1, batches=[dict(hard=1.0)])],
        split='validation',
        augment=False,
        ordered=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='NounRetrievalMetric', nouns=nouns)
test_evaluator = val_evaluator

lr = 1.5e-3
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='MuonAdamW', lr=lr, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.05, scale=0.5
    ),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys=dict(logit_scale=dict(decay_mult=0.0), embedding=dict(decay_mult=0.0)),
    ),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=100, by_epoch=False),
    dict(
        type='LinearLR',
        start_factor=1.0,
        end_factor=0.02,
        begin=1500,
        end=max_iters,
        by_epoch=False,
    ),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=500)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    _delete_=True,  # of those of all runs, what is for segmentors
    timer=dict(type='IterTimerHook'),
    logger=dict(type='MainProcessLoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook',
        by_epoch=False,
        interval=500,
        max_keep_ckpts=2,
        save_best='noun_recall',
        rule='greater',
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
