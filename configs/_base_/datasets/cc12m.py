# CC12M as img2dataset writes it: data/cc12m/{00000..01242}.tar. Shards that are not there
# (dead links, a part of the download) are counted in one log line.
caption_pipeline = [
    # cache='beside' once tools/dataset_converters/extract_nouns.py has tagged all captions
    dict(type='LoadNouns', cache=None, tagger='auto', word_type='noun'),
    dict(type='SelectNouns', num_nouns=2),
    dict(type='LoadCaptionImage', min_size=16),
    dict(type='RandomResizedCrop', size=224, scale=(0.9, 1.0), flip_prob=0.5),
    dict(
        type='TokenizeCaption',
        context_length=77,
        noun_context_length=61,  # 77 - 16 learnable contexts
        guide_templates='imagenet',
    ),
    dict(type='PackCaptionInputs'),
]
cc12m = dict(
    type='CaptionShardsDataset',
    data_root='data/cc12m',
    shards='{00000..01242}.tar',
    index_dir='data/cc12m/shard_index',  # made on the first run, which takes a while
    pipeline=caption_pipeline,
)
train_dataloader = dict(
    batch_size=16,  # per process; four of them make the paper's 64
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=cc12m,
)
