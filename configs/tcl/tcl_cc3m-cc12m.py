"""TCL (ViT-B/16) on CC3M and CC12M: the thesis' baseline in the setting of its CoDe.

mim train code_mm configs/tcl/tcl_cc3m-cc12m.py --launcher pytorch --gpus 4
"""

_base_ = [
    '../_base_/models/tcl_vit-b16.py',
    '../_base_/datasets/cc3m_cc12m.py',
    '../_base_/datasets/ade20k.py',
    '../_base_/schedules/code_50k.py',
    '../_base_/default_runtime.py',
]

caption_pipeline = [
    dict(type='CaptionAsNoun'),
    dict(type='LoadCaptionImage', min_size=16),
    dict(type='RandomResizedCrop', size=224, scale=(0.9, 1.0), flip_prob=0.5),
    # no learnt contexts: a caption has all positions; no guides are compared with
    dict(type='TokenizeCaption', context_length=77, noun_context_length=77, guide_templates=['{}']),
    dict(type='PackCaptionInputs'),
]
cc3m = dict(
    type='CaptionShardsDataset',
    data_root='data/cc3m',
    shards='{00000..00331}.tar',
    index_dir='data/cc3m/shard_index',
    pipeline=caption_pipeline,
)
cc12m = dict(
    type='CaptionShardsDataset',
    data_root='data/cc12m',
    shards='{00000..01242}.tar',
    index_dir='data/cc12m/shard_index',
    pipeline=caption_pipeline,
)
train_dataloader = dict(dataset=dict(datasets=[cc3m, cc12m]))
