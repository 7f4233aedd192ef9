"""The small CLIP, trained on with cut-outs: one that reads regions by what is in them.

run.py trains it where a variant needs it; by hand, from the project's root:

PYTHONPATH=. python tools/train.py projects/shapes_study/cut_out_clip.py
"""

_base_ = '../../configs/clip/small_clip_shapes.py'

custom_imports = dict(imports=['code_mm', 'projects.shapes_study.cut_out_batches'])
max_iters = 1000
model = dict(
    # all rows of the token embedding are there, and the text tower stays as it is: class names mean
    # what they meant
    vocabulary=None,
    vocabulary_templates=None,
    clip=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='configs/clip/weights/small_clip_shapes.safetensors',
        )
    ),
)
few = dict(world=dict(level='few', size=64, seed=1), count=20000)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='CutOutBatches',
        world=dict(level='few', size=64, seed=1),
        batch_size=128,
        length=max_iters,
        context_length=40,
        whole=dict(
            type='CLIPPretrainBatches',
            patch_size=8,
            image_size=64,
            context_length=40,
            cache_dir='data/clip_pretrain',
            batch_size=128,
            sources=dict(few=few, few_nouns=dict(**few, noun_templates=True)),
            stages=[
                dict(
                    until=max_iters,
                    batches=[dict(few_nouns=1.0), dict(few_nouns=1.0), dict(few=1.0)],
                )
            ],
        ),
    )
)
optim_wrapper = dict(
    optimizer=dict(lr=5e-4),
    paramwise_cfg=dict(custom_keys={'clip.text': dict(lr_mult=0.0, decay_mult=0.0)}),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(
        type='LinearLR',
        start_factor=1.0,
        end_factor=0.02,
        begin=50,
        end=max_iters,
        by_epoch=False,
    ),
]
train_cfg = dict(max_iters=max_iters, val_interval=250)
