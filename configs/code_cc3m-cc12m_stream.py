"""CoDe (ViT-B/16) on CC3M and CC12M as in code_cc3m-cc12m.py, the shards read as a stream.

mim train code_mm configs/code_cc3m-cc12m_stream.py --launcher pytorch --gpus 4

From this machine's disks as img2dataset writes them, or, with data_root='s3://bucket/cc12m',
'https://host/cc12m' or shards='pipe:...', from elsewhere.
"""

_base_ = './code_cc12m.py'

cc3m_stream = dict(name='cc3m', data_root='data/cc3m', shards='{00000..00331}.tar')
cc12m_stream = dict(name='cc12m', data_root='data/cc12m', shards='{00000..01242}.tar')
# Without the key weight, a source's share of the samples is its share of all pairs, counted from
# img2dataset's *_stats.json; where it is not counted, that of the shards.

train_dataloader = dict(
    _delete_=True,
    batch_size=16,  # per process; four of them make the paper's 64
    num_workers=4,
    persistent_workers=True,
    timeout=300,  # seconds; then a worker that hangs is named. 0 where num_workers=0
    sampler=None,  # the stream has its own order
    dataset=dict(
        type='CaptionStreamDataset',
        sources=[cc3m_stream, cc12m_stream],
        shuffle_buffer=1000,  # undecoded samples per worker, about 50 MB
        shard_timeout=60,  # seconds without a byte from a pipe or download
        retries=2,
        max_bad_fraction=0.5,
        pipeline={{_base_.caption_pipeline}},
    ),
)
# a resumed run goes on at the next shards; hanging workers are named
default_hooks = dict(stream_position=dict(type='StreamPositionHook', interval=50))
