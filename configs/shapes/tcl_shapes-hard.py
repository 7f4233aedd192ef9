"""TCL on the hard shapes world, matched to code_shapes-hard.py: same images, iterations, optimiser.

mim train code_mm configs/shapes/tcl_shapes-hard.py
"""

_base_ = './code_shapes-hard.py'

model = dict(
    noun_prompt=dict(_delete_=True, type='PlainTextPrompt'),
    text_segmenter=None,
    region_prompt=dict(_delete_=True, type='RegionBlanking'),
    word_prompt=None,
    alignment_text='noun',
    # ImageNet's sentences are foreign to the small CLIP.
    decode_head=dict(templates=['a {}.', 'there is a {}.', 'this shows a {}.', 'look at a {}.']),
    losses=dict(knowledge_guided=None, word_segmentation=None, region_word=None),
)
caption_pipeline = [
    dict(type='CaptionAsNoun'),
    dict(type='LoadCaptionImage', min_size=8),
    dict(type='RandomResizedCrop', size=64, scale=(0.9, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='TokenizeCaption', context_length=40, noun_context_length=40, guide_templates=['{}']),
    dict(type='PackCaptionInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=caption_pipeline))
custom_hooks = [
    dict(type='ClassNamesHook'),
    dict(type='RandomStateHook'),
    dict(
        type='CoDecompositionHook',
        num_pairs=6,
        dataset=dict(
            type='CaptionListDataset',
            data_root='data/shapes_world',
            ann_file='captions_validation.jsonl',
            pipeline=[
                dict(type='CaptionAsNoun'),
                dict(type='LoadCaptionImage', min_size=8),
                dict(
                    type='TokenizeCaption',
                    context_length=40,
                    noun_context_length=40,
                    guide_templates=['{}'],
                ),
                dict(type='PackCaptionInputs'),
            ],
        ),
    ),
]
