"""The eight benchmarks: where their files are, how they are coded, what was published on them.

Configs, result tables, the data check and the named protocols read this table. A benchmark more is
an entry more, with a class of its own only where MMSegmentation has none.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class KnownBenchmark:
    """One benchmark as it is published; paths are below ``data_root``."""

    dataset: str  # type of its data set, which knows the class names
    data_root: str
    img_path: str
    seg_map_path: str
    ann_file: str = ''  # list of the split, where the folders hold other images too
    # score of the background, which is what no class claims (thesis §4.1); None: there is none
    background_threshold: float | None = None
    num_images: tuple[int, ...]  # of the split; several where publications differ
    max_value: int  # highest value in the label files, 255 aside
    has_255: bool | None = None  # whether the label files hold 255; None: they may
    # what the names of label files have, and what files have there that are often taken for them
    taken_for: tuple[str, str] | None = None
    preparation: str  # how the files are made, and what they are mistaken for

    def dataset_config(self) -> dict:
        """Config of the data set, without pipeline."""
        return dict(
            type=self.dataset,
            data_root=self.data_root,
            **({'ann_file': self.ann_file} if self.ann_file else {}),
            data_prefix=dict(img_path=self.img_path, seg_map_path=self.seg_map_path),
        )


_TOOLS = 'in .mim/tools/dataset_converters of the installed mmseg'
_VOC = dict(
    data_root='data/VOCdevkit/VOC2012',
    ann_file='ImageSets/Segmentation/val.txt',
    img_path='JPEGImages',
    seg_map_path='SegmentationClass',
    num_images=(1449,),
    max_value=20,
    has_255=True,
    preparation='Unpack VOCtrainval_11-May-2012.tar; nothing is converted. Labels without a border '
    'of 255 around every object may be augmented ones (SegmentationClassAug).',
)
_CONTEXT = dict(
    data_root='data/VOCdevkit/VOC2010',
    ann_file='ImageSets/SegmentationContext/val.txt',
    img_path='JPEGImages',
    seg_map_path='SegmentationClassContext',
    num_images=(5104, 5105),
    max_value=59,
    has_255=False,
    preparation='Unpack VOCtrainval_03-May-2010.tar, put trainval_merged.json beside it and run '
    f"mmseg's tool pascal_context.py ({_TOOLS}). It writes the background as 0; other tools write "
    'it as 255, and the original has ids up to 459.',
)
_COCO = dict(
    data_root='data/coco_stuff164k',
    img_path='images/val2017',
    seg_map_path='annotations/val2017',
    num_images=(5000,),
)

BENCHMARKS = dict(
    voc21=KnownBenchmark(dataset='PascalVOCDataset', background_threshold=0.4, **_VOC),
    context60=KnownBenchmark(dataset='PascalContextDataset', background_threshold=0.4, **_CONTEXT),
    coco_object=KnownBenchmark(
        dataset='COCOObjectDataset',
        background_threshold=0.4,
        **_COCO,
        max_value=80,
        has_255=False,
        taken_for=('_instanceTrainIds', '_labelTrainIds'),
        preparation='Unpack val2017.zip into images/ and annotations_trainval2017.zip, then run '
        'python tools/dataset_converters/coco_object.py data/coco_stuff164k. It writes everything '
        "else as 0 and person as 1; other tools write 255 and 0, and COCO's category ids go up to "
        '90.',
    ),
    voc20=KnownBenchmark(dataset='PascalVOC20Dataset', **_VOC),
    context59=KnownBenchmark(dataset='PascalContextDataset59', **_CONTEXT),
    coco_stuff=KnownBenchmark(
        dataset='COCOStuffDataset',
        **_COCO,
        max_value=170,
        taken_for=('_labelTrainIds', ''),
        preparation='Unpack val2017.zip into images/, stuffthingmaps_trainval2017.zip into '
        f"annotations/, and run mmseg's tool coco_stuff164k.py ({_TOOLS}), which makes 171 train "
        'ids of the published 182.',
    ),
    cityscapes=KnownBenchmark(
        dataset='CityscapesDataset',
        data_root='data/cityscapes',
        img_path='leftImg8bit/val',
        seg_map_path='gtFine/val',
        num_images=(500,),
        max_value=18,
        taken_for=('_labelTrainIds', '_labelIds'),
        preparation='Unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, and run '
        f"mmseg's tool cityscapes.py ({_TOOLS}), which makes 19 train ids of the published 34.",
    ),
    ade20k=KnownBenchmark(
        dataset='ADE20KDataset',
        data_root='data/ade/ADEChallengeData2016',
        img_path='images/validation',
        seg_map_path='annotations/validation',
        num_images=(2000,),
        max_value=150,
        taken_for=('.png', '_seg.png'),
        preparation='Unpack ADEChallengeData2016.zip (scene parsing, 150 classes), not the full '
        'ADE20K; nothing is converted.',
    ),
)

SOURCE = 'thesis Table 4.1, whose figures of other methods are those of the original papers'
# The benchmarks of that table; its average is over exactly these.
TABLE_BENCHMARKS = ('voc21', 'context60', 'coco_object', 'coco_stuff', 'cityscapes', 'ade20k')
# Method -> publication, training data, mIoU (%) on TABLE_BENCHMARKS, average of the six. Three
# figures are those of the benchmarks with background.
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
        miou=dict(zip(TABLE_BENCHMARKS, figures, strict=False)),
        average=average,
    )
    for method, (publication, training_data, figures, average) in _ROWS.items()
}


def benchmark_of(dataset_type: str) -> str | None:
    """Name of the benchmark whose data set is of this type, whatever a run calls it, or None."""
    kind = dataset_type.rpartition('.')[-1]
    return next((name for name, known in BENCHMARKS.items() if known.dataset == kind), None)
