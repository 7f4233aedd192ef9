"""What is known of the benchmarks' files: how many, how coded, and what usually goes wrong."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple


class LabelEvidence(NamedTuple):
    """What the label files of a data set look like.

    Args:
        values (frozenset[int]): All pixel values in the files, as they are.
        missing (Sequence[Path]): Label files that should be there and are not.
    """

    values: frozenset[int]
    missing: Sequence[Path]


class Mistake(NamedTuple):
    """A known mistake: how it shows, and what it is."""

    shows: Callable[[LabelEvidence], bool]
    message: str


class PublishedBenchmark(NamedTuple):
    """One benchmark as it is published.

    Args:
        name (str): Short name, that of its config.
        num_images (Sequence[int]): Images of the split; several where publications differ.
        preparation (str): How the files are made.
        mistakes (Sequence[Mistake]): What usually goes wrong.
    """

    name: str
    num_images: Sequence[int]
    preparation: str
    mistakes: Sequence[Mistake]


def _beyond(highest: int) -> Callable[[LabelEvidence], bool]:
    return lambda seen: any(highest < value != 255 for value in seen.values)


def _beside(suffix: str, other: str) -> Callable[[LabelEvidence], bool]:
    """Labels are missing, but files of another name are in their place."""

    def shows(seen: LabelEvidence) -> bool:
        others = (p.with_name(p.name.replace(suffix, other)) for p in seen.missing[:20])
        return any(path.is_file() for path in others)

    return shows


def _has(value: int) -> Callable[[LabelEvidence], bool]:
    return lambda seen: value in seen.values


def _lacks(value: int) -> Callable[[LabelEvidence], bool]:
    return lambda seen: bool(seen.values) and value not in seen.values


_TOOLS = 'in .mim/tools/dataset_converters of the installed mmseg'

_VOC = (
    (1449,),
    'Unpack VOCtrainval_11-May-2012.tar; nothing is converted.',
    (
        Mistake(
            _lacks(255),
            'no pixel is 255, though the published files have a border of 255 around every object: '
            'these may be augmented labels (SegmentationClassAug); use SegmentationClass',
        ),
        Mistake(_beyond(20), 'values above 20: these are not class indices of PASCAL VOC'),
    ),
)
_CONTEXT = (
    (5104, 5105),
    "Unpack VOCtrainval_03-May-2010.tar, put trainval_merged.json beside it and run mmseg's tool "
    f'pascal_context.py ({_TOOLS}).',
    (
        Mistake(
            _beyond(59),
            "values above 59: the labels were not converted by mmseg's pascal_context.py "
            '(the original has ids up to 459)',
        ),
        Mistake(
            _has(255),
            "value 255: mmseg's pascal_context.py writes the background as 0 and ignores nothing; "
            'these labels are coded by another tool (classes from 0, background 255), so that '
            'every class would be taken for its neighbour',
        ),
    ),
)

# By the data set's type in a config.
BENCHMARKS = {
    'PascalVOCDataset': PublishedBenchmark('voc21', *_VOC),
    'PascalVOC20Dataset': PublishedBenchmark('voc20', *_VOC),
    'PascalContextDataset': PublishedBenchmark('context60', *_CONTEXT),
    'PascalContextDataset59': PublishedBenchmark('context59', *_CONTEXT),
    'COCOObjectDataset': PublishedBenchmark(
        'coco_object',
        (5000,),
        'Unpack val2017.zip into images/ and annotations_trainval2017.zip, then run '
        'python tools/dataset_converters/coco_object.py data/coco_stuff164k',
        (
            Mistake(
                _beside('_instanceTrainIds', '_labelTrainIds'),
                'the labels of COCO-Stuff are there, those of COCO-Object are not yet made',
            ),
            Mistake(
                _has(255),
                'value 255: the converter of this project writes everything else as 0 and ignores '
                'nothing, so another tool made these labels; if 255 is its background, every class '
                'is taken for its neighbour (person must be 1, not 0)',
            ),
            Mistake(_beyond(80), "values above 80: COCO's category ids (up to 90), not labels"),
        ),
    ),
    'COCOStuffDataset': PublishedBenchmark(
        'coco_stuff',
        (5000,),
        'Unpack val2017.zip into images/, stuffthingmaps_trainval2017.zip into annotations/, and '
        f"run mmseg's tool coco_stuff164k.py ({_TOOLS}).",
        (
            Mistake(
                _beside('_labelTrainIds', ''),
                'the published files with 182 ids are there, but not *_labelTrainIds.png, which '
                "mmseg's coco_stuff164k.py makes of them",
            ),
            Mistake(
                _beyond(170),
                'values above 170: the published 182 ids instead of the 171 train ids',
            ),
        ),
    ),
    'CityscapesDataset': PublishedBenchmark(
        'cityscapes',
        (500,),
        "Unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, and run mmseg's tool "
        f'cityscapes.py ({_TOOLS}).',
        (
            Mistake(
                _beside('_labelTrainIds', '_labelIds'),
                'gtFine has *_labelIds.png as published, but not *_labelTrainIds.png, which '
                "mmseg's cityscapes.py makes",
            ),
            Mistake(
                _beyond(18),
                'values above 18: label ids (0 to 33) instead of the 19 train ids; the files '
                '*_labelTrainIds.png are copies of *_labelIds.png',
            ),
        ),
    ),
    'ADE20KDataset': PublishedBenchmark(
        'ade20k',
        (2000,),
        'Unpack ADEChallengeData2016.zip (scene parsing, 150 classes); nothing is converted.',
        (
            Mistake(
                _beside('.png', '_seg.png'),
                'files *_seg.png: this is the full ADE20K, not the scene parsing benchmark '
                '(ADEChallengeData2016)',
            ),
            Mistake(
                _beyond(150),
                'values above 150: labels of the full ADE20K, not of the scene parsing benchmark '
                '(ADEChallengeData2016)',
            ),
        ),
    ),
}
