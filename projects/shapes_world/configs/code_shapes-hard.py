"""CoDe on the hard shapes world: minutes on two CPU cores.

mim train code_mm projects/shapes_world/configs/code_shapes-hard.py
"""

_base_ = ['./_base_/code_shapes.py', './_base_/shapes_world_eval.py']

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
        guide_templates=_base_.small_clip_templates,
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

max_iters = 600
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(gate=dict(decay_mult=0.0))))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=1e-5, begin=50, end=max_iters, by_epoch=False),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(checkpoint=dict(interval=max_iters // 4, max_keep_ckpts=2))
custom_hooks = [
    dict(type='ClassNamesHook'),
    dict(type='RandomStateHook'),
    # An untrained text segmenter highlights nearly the whole caption, which rewards regions that
    # keep the whole image: regions and words are aligned once the word masks have settled.
    dict(
        type='TrainingStagesHook',
        stages=[
            dict(begin=0, freeze=[], loss_weights=dict(region_word=0.0)),
            dict(begin=max_iters // 3, freeze=[]),
        ],
    ),
    dict(
        type='CoDecompositionHook',
        num_pairs=6,
        dataset=dict(
            type='CaptionListDataset',
            data_root='data/shapes_world',
            ann_file='captions_validation.jsonl',
            pipeline=[
                dict(type='LoadNouns'),
                dict(type='SelectNouns', num_nouns=2),
                dict(type='LoadCaptionImage', min_size=8),
                dict(type='TokenizeCaption', context_length=40, noun_context_length=24),
                dict(type='PackCaptionInputs'),
            ],
        ),
    ),
]
