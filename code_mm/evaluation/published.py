"""Published mIoU of text-supervised segmentation, to be set beside what is measured."""

SOURCE = 'thesis Table 4.1, whose figures of other methods are those of the original papers'

# Benchmark -> class of its data set, which says what a figure belongs to, whatever a run calls it.
DATASETS = dict(
    voc21='PascalVOCDataset',
    context60='PascalContextDataset',
    coco_object='COCOObjectDataset',
    voc20='PascalVOC20Dataset',
    context59='PascalContextDataset59',
    coco_stuff='COCOStuffDataset',
    cityscapes='CityscapesDataset',
    ade20k='ADE20KDataset',
)
# The benchmarks of the table; its average is over exactly these.
TABLE_BENCHMARKS = ('voc21', 'context60', 'coco_object', 'coco_stuff', 'cityscapes', 'ade20k')

# Method -> publication, training data, mIoU (%) on TABLE_BENCHMARKS, average of the six.
_ROWS = {
    'GroupViT': ('CVPR 2022', 'CC3M+CC12M+YFCC14M', (49.5, 19.0, 24.3, 12.6, 6.9, 8.7), 20.2),
    'ViL-Seg': ('ECCV 2022', 'CC12M', (37.3, 18.9, 18.1), None),
    'ViewCo': ('ICLR 2023', 'CC12M+YFCC14M', (52.4, 23.0, 23.5), None),
    'OVSegmentor': ('CVPR 2023', 'CC12M', (53.8, 20.4, 25.1), None),
    'SimSeg': ('CVPR 2023', 'CC3M+CC12M', (57.4, 26.2, 29.7), None),
    'TCL': ('CVPR 2023', 'CC3M+CC12M', (55.0, 30.4, 31.6, 22.4, 24.0, 17.1), 30.1),
    'SegCLIP': ('ICML 2023', 'CC3M+COCO', (52.6, 24.7, 26.5), None),
    'CoCu': ('NeurIPS 2023', 'CC3M+CC12M+YFCC14M', (51.4, 23.6, 22.7, 15.2, 22.1, 12.3), 24.6),
    'PGSeg': ('NeurIPS 2023', 'CC12M+RedCaps12M', (53.2, 23.8, 28.7), None),
    'CoDe': ('CVPR 2024', 'CC3M+CC12M', (57.7, 30.5, 32.3, 23.9, 28.9, 17.7), 31.8),
}
PUBLISHED = {
    method: dict(
        publication=publication,
        training_data=training_data,
        # three figures are those of the benchmarks with background
        miou=dict(zip(TABLE_BENCHMARKS, figures, strict=False)),
        average=average,
    )
    for method, (publication, training_data, figures, average) in _ROWS.items()
}


def benchmark_of(dataset_type: str) -> str | None:
    """Name of the benchmark whose data set is of this class, None for others."""
    names = [name for name, kind in DATASETS.items() if kind == dataset_type]
    return names[0] if names else None
