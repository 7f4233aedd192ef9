"""CoDe on CLIP ViT-B/16, as the authors' release resolves the thesis (ch. 3)."""

_base_ = '../image_statistics.py'

data_preprocessor = dict(
    type='SegDataPreProcessor',
    **_base_.image_statistics,
    pad_val=0,
    seg_pad_val=255,
    size=(224, 224),
)
model = dict(
    type='CoDeSegmentor',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='CLIP',
        embed_dim=512,
        image_size=224,
        patch_size=16,
        vision_width=768,
        vision_layers=12,
        context_length=77,
        text_width=512,
        text_layers=12,
        # the file that OpenAI publishes, fetched when first needed (docs/weights.md)
        init_cfg=dict(type='Pretrained', checkpoint='clip_vit-b16_openai'),
    ),
    image_segmenter=dict(type='ImageSegmenter', num_upsamplings=2, init_gate=0.0),
    co_decomposition=dict(
        type='CoDecomposition',
        noun_prompt=dict(type='NounContextPrompt', num_contexts=16),
        similarity_to_mask=dict(
            type='SimilarityToMask', init_scale=10.0, init_bias=-2.5, temperature=1.0
        ),
        region_prompt=dict(type='RegionHighlightingPrompt', image_size=224, learnable=True),
        text_segmenter=dict(type='TextSegmenter', num_layers=2, init_scale=10.0, init_bias=0.0),
        word_prompt=dict(type='WordHighlightingPrompt', learnable=True),
        losses=dict(
            knowledge_guided=dict(type='KnowledgeGuidedLoss', mode='cosine', loss_weight=8.0),
            # L_seg^v: the image segmenter's own losses
            region_feature=dict(type='RegionInfoNCELoss', loss_weight=0.1),
            feature_variation=dict(type='TotalVariationLoss', of='features', loss_weight=1.0),
            mask_variation=dict(type='TotalVariationLoss', of='masks', loss_weight=1.0),
            area=dict(type='AreaLoss', of='own_masks', prior=0.25, loss_weight=0.5),
            negative_area=dict(type='AreaLoss', of='negative_area', prior=0.0, loss_weight=0.05),
            # after the losses on features: its large graph is freed before their gradients arise
            region_image=dict(type='InfoNCELoss', text='nouns', loss_weight=0.1),
            # L_seg^t
            word_segmentation=dict(
                type='TextSegmentationLoss',
                pseudo_label='noun_tokens',
                none_weight=0.5,
                loss_weight=1.0,
            ),
            # L_hcl
            region_word=dict(type='InfoNCELoss', text='text_embed', loss_weight=0.5),
        ),
    ),
    decode_head=dict(
        type='ZeroShotHead',
        knowledge_preserving=dict(weight=0.3, scale=10.0, threshold=0.25, templates='custom'),
        post_processor=dict(type='PAMR', num_iter=10, dilations=(1, 2, 4, 8, 12, 24)),
    ),
    background_threshold=None,
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(448, 448), stride=(224, 224), window_batch_size=4),
)
# The frozen first stage leaves parameters of the image segmenter without gradient.
find_unused_parameters = True
