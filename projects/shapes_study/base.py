"""What all trained variants of the study share: CoDe on the shapes world.

A variant (variants.py) changes keys of this config, or of that of another method.
"""

_base_ = '../../configs/shapes/code_shapes-hard.py'

max_iters = 600
# no validation in between: the study reads the last weights
train_cfg = dict(max_iters=max_iters)
val_cfg, val_dataloader, val_evaluator = None, None, None
custom_hooks = [
    dict(type='ClassNamesHook'),
    dict(type='RandomStateHook'),
    # Regions and words are aligned once the word masks have settled (see code_shapes-hard.py).
    dict(
        type='TrainingStagesHook',
        stages=[
            dict(begin=0, freeze=[], loss_weights=dict(region_word=0.0)),
            dict(begin=max_iters // 3, freeze=[]),
        ],
    ),
]
