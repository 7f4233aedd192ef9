# Settings that every config of this project shares.
default_scope = 'mmseg'
custom_imports = dict(imports=['code_mm'], allow_failed_imports=False)

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),  # without a GPU gloo is used instead
)
randomness = dict(seed=0)

# Runs are iteration-based: checkpoints and logs count iterations.
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='MainProcessLoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1000, max_keep_ckpts=2),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    plain_checkpoint=dict(type='PlainCheckpointHook'),  # others load them safely, too
    protocol=dict(type='ProtocolHook'),  # scores with all they were measured with
    finite_loss=dict(type='NonFiniteLossHook', action='skip'),  # or 'stop'
    visualization=dict(type='SegVisualizationHook'),  # draws for tools/test.py --show-dir
)

vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='SegLocalVisualizer', vis_backends=vis_backends, name='visualizer')

log_processor = dict(by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False
