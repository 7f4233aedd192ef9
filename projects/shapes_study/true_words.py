"""CoDe whose text segmenter is told the owner of every word: what better word masks would bring."""

_base_ = '../../configs/shapes/code_shapes-hard.py'

custom_imports = dict(imports=['code_mm', 'projects.shapes_study.true_word_labels'])
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.caption_pipeline[:-1],
            dict(type='TrueWordLabels'),
            dict(type='PackCaptionInputs'),
        ]
    )
)
