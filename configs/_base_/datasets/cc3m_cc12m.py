# CC3M and CC12M together, the thesis' training set, both as img2dataset writes them.
_base_ = ['./cc12m.py']

cc3m = dict(
    type='CaptionShardsDataset',
    data_root='data/cc3m',
    shards='{00000..00331}.tar',
    index_dir='data/cc3m/shard_index',
    pipeline={{_base_.caption_pipeline}},
)
train_dataloader = dict(
    dataset=dict(_delete_=True, type='ConcatDataset', datasets=[cc3m, {{_base_.cc12m}}])
)
