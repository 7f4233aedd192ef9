"""The schedule of the authors' release: 50 000 iterations of global batch 64 (thesis §3.5)."""

# 3.2e-4 for a batch of 4096, scaled to 64.
base_lr = 3.2e-4 * 64 / 4096
min_lr = 4e-5 * 64 / 4096
max_iters = 50_000
warmup_iters = 15_000
# Stage 1 (before): CLIP's last block in the image segmenter is frozen. Stage 2: it learns too.
stage_2_begin = 30_000

optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(
        type='AdamW',
        lr=base_lr,
        betas=(0.9, 0.999),
        eps=1e-6,
        weight_decay=0.05,
        fused=True,  # one pass over the parameters; on a CPU it needs torch 2.4
    ),
    clip_grad=dict(max_norm=5.0),
    # No decay on 1-d parameters. Scalars, prompts and contexts are decayed, as in the release.
    paramwise_cfg=dict(flat_decay_mult=0.0),
)
param_scheduler = [
    # MMEngine's linear ramp reaches the full rate one step before `end`.
    dict(type='LinearLR', start_factor=1e-4, begin=0, end=warmup_iters + 1, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        T_max=max_iters - warmup_iters,
        eta_min=min_lr,
        begin=warmup_iters,
        end=max_iters + 1,
        by_epoch=False,
    ),
]
# For another global batch: tools/train.py ... --cfg-options auto_scale_lr.enable=True
auto_scale_lr = dict(enable=False, base_batch_size=64)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=5_000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
custom_hooks = [
    dict(
        type='TrainingStagesHook',
        stages=[
            dict(begin=0, freeze=['image_segmenter.tail.block.*']),
            dict(begin=stage_2_begin, freeze=[]),
        ],
    ),
    dict(type='ClassNamesHook'),
    dict(type='RandomStateHook'),
    # pictures of regions and words of the same training pairs after every validation
    dict(type='CoDecompositionHook', num_pairs=4),
]
