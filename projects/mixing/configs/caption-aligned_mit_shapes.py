"""Pixel labels and captions in one run: CoDe's alignment as an auxiliary loss (shapes world).

Three sources: labelled images with captions, captions alone (shards), labels alone. Labels know
19 of 23 classes, captions speak of all nouns.

mim train code_mm projects/mixing/configs/caption-aligned_mit_shapes.py
"""

_base_ = './_base_/mit_shapes.py'

custom_imports = dict(imports=['code_mm', 'projects.shapes_world', 'projects.mixing'])

similarity_to_mask = dict(type='SimilarityToMask', init_scale=20.0, init_bias=-5.0)
model = dict(
    type='CaptionAlignedSegmentor',
    decode_head=dict(
        type='ZeroShotHead',
        input_transform='resize_concat',
        embed_dim=128,
        project=True,
        similarity_to_mask=similarity_to_mask,
    ),
    vision_language_backbone=dict(**_base_.small_clip, init_cfg=_base_.small_clip_weights),
    class_names={{_base_.seen_classes}},
    templates=_base_.small_clip_templates,
    # CoDe, but for its image segmenter
    co_decomposition=dict(
        type='CoDecomposition',
        similarity_to_mask=similarity_to_mask,
        noun_prompt=dict(type='NounContextPrompt', num_contexts=16),
        text_segmenter=dict(type='TextSegmenter', num_layers=2),
        region_prompt=dict(type='RegionHighlightingPrompt', image_size=64),
        word_prompt=dict(type='WordHighlightingPrompt'),
        losses=dict(
            knowledge_guided=dict(type='KnowledgeGuidedLoss', mode='cosine', loss_weight=8.0),
            region_feature=dict(type='RegionInfoNCELoss', loss_weight=0.5),
            region_image=dict(type='InfoNCELoss', text='nouns', loss_weight=0.25),
            area=dict(type='AreaLoss', of='own_masks', prior=0.1, loss_weight=1.0),
            word_segmentation=dict(type='TextSegmentationLoss', loss_weight=0.5),
            region_word=dict(type='InfoNCELoss', text='text_embed', loss_weight=0.1),
        ),
    ),
)

load_nouns = dict(type='LoadNouns')
select_nouns = dict(type='SelectNouns', num_nouns=2)
tokenize = dict(
    type='TokenizeCaption',
    context_length=40,
    noun_context_length=24,  # 40 - 16 learnable contexts
    guide_templates=_base_.small_clip_templates,
)
crop = dict(type='RandomResizedCrop', size=64, scale=(0.9, 1.0))
flip = dict(type='RandomFlip', prob=0.5)
# Masks and captions of the same images: the captions are looked up in a list.
labelled_captioned_dataset = dict(
    _base_.train_dataset,
    indices=1000,  # the first half; the second one keeps its labels alone
    pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(
            type='AddCaption',
            ann_file='data/shapes_mixing/captions_training.jsonl',
            transforms=[load_nouns, select_nouns, tokenize],
        ),
        crop,
        flip,
        dict(type='PackCaptionInputs', require_caption=False),
    ],
)
captioned_dataset = dict(
    type='CaptionShardsDataset',
    data_root='data/shapes_mixing',
    shards='shards/*.tar',
    pipeline=[
        load_nouns,
        select_nouns,
        dict(type='LoadCaptionImage', min_size=8),
        crop,
        flip,
        tokenize,
        dict(type='PackCaptionInputs'),
    ],
)
labelled_dataset = dict(_base_.train_dataset, indices=-1000)
del similarity_to_mask, load_nouns, select_nouns, tokenize, crop, flip
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        # repeated, so that half of the samples have labels
        datasets=[
            dict(type='RepeatDataset', times=2, dataset=labelled_captioned_dataset),
            captioned_dataset,
            dict(type='RepeatDataset', times=2, dataset=labelled_dataset),
        ],
        # captions have no classes
        ignore_keys=['classes', 'palette', 'label_map', 'reduce_zero_label', 'dataset_type'],
    )
)
custom_hooks = [dict(type='ClassNamesHook'), dict(type='RandomStateHook')]
# A batch without captions leaves the alignment's parameters without gradient.
find_unused_parameters = True
