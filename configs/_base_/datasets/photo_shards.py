# A few real photos with captions, as img2dataset writes them: what any folder of one's own
# shards needs. The folder is this key, or the environment variable CODE_MM_PHOTO_SHARDS.
_base_ = ['./cc12m.py']

photo_shards = '{{$CODE_MM_PHOTO_SHARDS:../shared/data/photo_shards}}'

train_dataloader = dict(
    num_workers=2,
    dataset=dict(
        _delete_=True,
        type='CaptionShardsDataset',
        data_root=photo_shards,
        shards='*.tar',
        pipeline={{_base_.caption_pipeline}},
    ),
)
