"""All benchmarks, for MultiDatasetTestLoop and MultiDatasetValLoop: data, and background threshold.

The six of thesis Table 4.1, and VOC and Context without background.
"""

from mmengine import Config

# 0.4 where the background is what no class claims (thesis §4.1), None where there is none
all_benchmarks = dict(
    voc21=dict(background_threshold=0.4),
    context60=dict(background_threshold=0.4),
    coco_object=dict(background_threshold=0.4),
    voc20=dict(background_threshold=None),
    context59=dict(background_threshold=None),
    coco_stuff=dict(background_threshold=None),
    cityscapes=dict(background_threshold=None),
    ade20k=dict(background_threshold=None),
)
benchmark_pipeline = Config.fromfile('{{ fileDirname }}/datasets/evaluation.py').test_pipeline
for name in all_benchmarks:
    dataset = Config.fromfile('{{ fileDirname }}/datasets/' + name + '.py').test_dataloader.dataset
    # One pipeline for all of them, a single key to change; a data set that differs keeps its own.
    if dataset.pipeline == benchmark_pipeline:
        dataset.pop('pipeline')
    all_benchmarks[name]['dataset'] = dataset
del Config, name, dataset
