"""CoDe on captioned photographs: Flickr8k's 6 000 training images, on two CPU cores.

python tools/train.py projects/photos/configs/code_flickr8k.py

Own images: --cfg-options train_dataloader.dataset.data_root=FOLDER (shards of img2dataset, whose
json holds one caption or a list of them). Nouns by the text tower alone, as the thesis has them:
model.co_decomposition.noun_prompt.type=NounContextPrompt
"""

_base_ = [
    '../../../configs/_base_/models/code_vit-b16.py',
    './_base_/photos.py',
    './_base_/coco_photos.py',
]

tokenizer = dict(type='MiniLMTokenizer')
model = dict(
    backbone=dict(_delete_=True, **_base_.image_text),
    image_segmenter=dict(init_gate=0.1),
    co_decomposition=dict(
        noun_prompt=dict(type='RowsNounPrompt', num_contexts=4),
        text_segmenter=dict(type='HeadTextSegmenter', head_width=_base_.image_text.head_width),
        similarity_to_mask=dict(init_scale=20.0, init_bias=-2.0),
    ),
    decode_head=dict(knowledge_preserving=None),
    test_cfg=dict(_delete_=True, mode='whole'),
)
caption_pipeline = [
    dict(type='LoadNouns', tagger='auto', word_type='noun'),
    dict(type='SelectNouns', num_nouns=2),
    dict(type='LoadCaptionImage', min_size=16),
    dict(type='RandomResizedCrop', size=224, scale=(0.5, 1.0), flip_prob=0.5),
    dict(
        type='TokenizeCaption',
        context_length=64,
        noun_context_length=60,  # 64 - 4 learnable contexts
        guide_templates=['{}', 'a {}', 'a photo of a {}'],
        tokenizer=tokenizer,
    ),
    dict(type='PackCaptionInputs'),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='CaptionShardsDataset',
        data_root='../shared/data/flickr8k',
        shards='train-*.tar',
        caption_field='captions',  # a list of five, of which every visit draws one
        pipeline=caption_pipeline,
    ),
)

max_iters = 500
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-4, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
    paramwise_cfg=dict(flat_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=30, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=1e-5, begin=30, end=max_iters, by_epoch=False),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters + 1)
default_hooks = dict(checkpoint=dict(interval=max_iters // 4, max_keep_ckpts=1))
custom_hooks = [dict(type='RandomStateHook')]
