"""CoDe on captioned photographs, the shards read as a stream."""

_base_ = './code_flickr8k.py'

train_dataloader = dict(
    _delete_=True,
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=None,  # the stream has its own order
    dataset=dict(
        type='CaptionStreamDataset',
        sources=[
            dict(
                data_root='../shared/data/flickr8k',
                shards='train-{00000..00005}.tar',
                caption_field='captions',
            )
        ],
        shuffle_buffer=500,
        pipeline={{_base_.caption_pipeline}},
    ),
)
default_hooks = dict(stream_position=dict(type='StreamPositionHook', interval=50))
