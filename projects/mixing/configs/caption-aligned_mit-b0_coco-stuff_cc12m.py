"""Pixel labels and captions in one run: COCO-Stuff's masks with COCO's captions, and CC12M.

CLIP ViT-B/16 (docs/weights.md) sees the images at 224 pixels, the network that learns at 512.
README.md says how COCO's captions become a list.

mim train code_mm projects/mixing/configs/caption-aligned_mit-b0_coco-stuff_cc12m.py \
    --launcher pytorch --gpus 8
"""

_base_ = [
    './_base_/mit-b0.py',
    '../../../configs/_base_/datasets/cc12m.py',
    '../../../configs/_base_/default_runtime.py',
]

from mmseg.datasets import COCOStuffDataset  # noqa: E402

custom_imports = dict(imports=['code_mm', 'projects.mixing'])

model = dict(
    type='CaptionAlignedSegmentor',
    decode_head=dict(
        type='ZeroShotHead',
        input_transform='resize_concat',
        embed_dim=512,
        project=True,
        similarity_to_mask=dict(type='SimilarityToMask', init_scale=20.0, init_bias=-5.0),
    ),
    vision_language_backbone=dict(
        type='CLIP', init_cfg=dict(type='Pretrained', checkpoint='clip_vit-b16_openai')
    ),
    image_size=224,  # for that backbone
    class_names=[*COCOStuffDataset.METAINFO['classes']],
    # CoDe, but for its image segmenter
    co_decomposition=dict(
        type='CoDecomposition',
        noun_prompt=dict(type='NounContextPrompt', num_contexts=16),
        text_segmenter=dict(type='TextSegmenter', num_layers=2),
        region_prompt=dict(type='RegionHighlightingPrompt', image_size=224),
        word_prompt=dict(type='WordHighlightingPrompt'),
        losses=dict(
            knowledge_guided=dict(type='KnowledgeGuidedLoss', loss_weight=8.0),
            region_feature=dict(type='RegionInfoNCELoss', loss_weight=0.1),
            region_image=dict(type='InfoNCELoss', text='nouns', loss_weight=0.1),
            area=dict(type='AreaLoss', of='own_masks', prior=0.25, loss_weight=0.5),
            word_segmentation=dict(type='TextSegmentationLoss', loss_weight=1.0),
            region_word=dict(type='InfoNCELoss', text='text_embed', loss_weight=0.5),
        ),
    ),
)
del COCOStuffDataset

data_root = 'data/coco_stuff164k'
select_nouns = dict(type='SelectNouns', num_nouns=2)
tokenize = dict(type='TokenizeCaption', context_length=77, noun_context_length=61)  # 77 - 16
crop = dict(type='RandomResizedCrop', size=512, scale=(0.5, 1.0))
flip = dict(type='RandomFlip', prob=0.5)
caption_pipeline = [
    dict(type='LoadNouns', cache='beside'),  # tools/dataset_converters/extract_nouns.py
    select_nouns,
    dict(type='LoadCaptionImage', min_size=16),
    crop,
    flip,
    tokenize,
    dict(type='PackCaptionInputs'),
]
coco_dataset = dict(
    type='COCOStuffDataset',
    data_root=data_root,
    data_prefix=dict(img_path='images/train2017', seg_map_path='annotations/train2017'),
    pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(
            type='AddCaption',
            ann_file=data_root + '/captions_train2017.jsonl',
            transforms=[dict(type='LoadNouns'), select_nouns, tokenize],
        ),
        crop,
        flip,
        dict(type='PackCaptionInputs', require_caption=False),
    ],
)
del select_nouns, tokenize, crop, flip
captioned_dataset = dict(_base_.cc12m, pipeline=caption_pipeline)
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        # 118 thousand images against twelve million: repeated, half of the samples have labels
        datasets=[dict(type='RepeatDataset', times=100, dataset=coco_dataset), captioned_dataset],
        # captions have no classes
        ignore_keys=['classes', 'palette', 'label_map', 'reduce_zero_label', 'dataset_type'],
    ),
)
val_dataloader = dict(
    dataset=dict(
        type='COCOStuffDataset',
        data_root=data_root,
        data_prefix=dict(img_path='images/val2017', seg_map_path='annotations/val2017'),
    ),
)
test_dataloader = val_dataloader
custom_hooks = [dict(type='ClassNamesHook'), dict(type='RandomStateHook')]
# A batch without captions leaves the alignment's parameters without gradient.
find_unused_parameters = True
