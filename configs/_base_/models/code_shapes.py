"""CoDe on the small CLIP of the shapes world (configs/clip), 64-pixel images."""

clip_checkpoint = '{{ fileDirname }}/../../clip/weights/small_clip_shapes.safetensors'
image_size, context_length, num_contexts = 64, 40, 16

data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size=(image_size, image_size),
    test_cfg=dict(size_divisor=8),
)
# Hand-written templates of this world's captions; ImageNet's are foreign to the small CLIP.
templates = ['a {}.', 'there is a {}.', 'this shows a {}.', 'we can see a {}.', 'look at a {}.']
model = dict(
    type='CoDeSegmentor',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='CLIP',
        embed_dim=128,
        image_size=image_size,
        patch_size=8,
        vision_width=128,
        vision_layers=4,
        context_length=context_length,
        text_width=128,
        text_layers=3,
        init_cfg=dict(type='Pretrained', checkpoint=clip_checkpoint),
    ),
    noun_prompt=dict(type='NounContextPrompt', num_contexts=num_contexts),
    image_segmenter=dict(type='ImageSegmenter', num_upsamplings=2, init_gate=0.3),
    text_segmenter=dict(type='TextSegmenter', num_layers=2, init_scale=10.0, init_bias=0.0),
    region_prompt=dict(type='RegionHighlightingPrompt', image_size=image_size, learnable=True),
    word_prompt=dict(type='WordHighlightingPrompt', learnable=True),
    alignment_text='highlighted',
    decode_head=dict(
        type='ZeroShotHead',
        similarity_to_mask=dict(
            type='SimilarityToMask', init_scale=20.0, init_bias=-5.0, temperature=1.0
        ),
        background_threshold=0.4,
    ),
    losses=dict(
        knowledge_guided=dict(type='KnowledgeGuidedLoss', mode='cosine', loss_weight=8.0),
        region_feature=dict(type='RegionInfoNCELoss', loss_weight=0.1),
        region_image=dict(type='InfoNCELoss', loss_weight=0.1),
        feature_variation=dict(type='TotalVariationLoss', loss_weight=1.0),
        mask_variation=dict(type='TotalVariationLoss', loss_weight=1.0),
        area=dict(type='AreaLoss', prior=0.1, loss_weight=2.0),
        negative_area=dict(type='AreaLoss', prior=0.0, loss_weight=0.05),
        word_segmentation=dict(
            type='TextSegmentationLoss', pseudo_label='noun_tokens', loss_weight=1.0
        ),
        region_word=dict(type='InfoNCELoss', loss_weight=0.1),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
find_unused_parameters = True
