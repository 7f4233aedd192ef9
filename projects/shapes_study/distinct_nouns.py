"""CoDe from batches in which no noun is learned twice, as it nearly is with captions of the web."""

_base_ = '../../configs/shapes/code_shapes-hard.py'

custom_imports = dict(imports=['code_mm', 'projects.shapes_study.distinct_noun_batches'])
train_dataloader = dict(
    batch_size=8,
    sampler=None,
    dataset=dict(type='DistinctNounBatches', batch_size=8),
)
