"""The eight benchmarks as a few small images each, with true folders, names and label coding."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmseg.datasets import COCOStuffDataset, PascalVOCDataset
from PIL import Image

from code_mm.datasets.preparation.coco_object_labels import write_coco_object_labels

SIZES = [(40, 56), (64, 48), (48, 72), (36, 36)]  # height, width
# Ids of COCO-Stuff's label files that no pixel has; the train ids close these gaps.
UNUSED_STUFF_IDS = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)
STUFF_IDS = [i for i in range(182) if i not in UNUSED_STUFF_IDS]
# COCO's category ids have gaps too: 1 ... 90, 80 of them (one more than the ids of COCO-Stuff).
OBJECT_IDS = [i + 1 for i in STUFF_IDS[:80]]
# Cityscapes: train id -> id of gtFine_labelIds.png
CITY_IDS = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
CITIES = ('frankfurt', 'lindau', 'munster')


def coding(values, ignored=255):
    """What label files hold: the value of each label, and of 255, which is what is ignored."""
    codes = np.full(256, ignored, np.uint8)
    codes[: len(values)] = values
    return codes


class Files(NamedTuple):
    """A benchmark's files; ``n`` in their paths is the image's number from 1 on."""

    folder: str  # below data/
    image: str
    labels: dict[str, np.ndarray]  # path -> coding; the published file, and what is made of it
    num_labels: int
    has_ignored: bool = True
    split: str = ''  # path of the list of a split


VOC = Files(
    'VOCdevkit/VOC2012',
    'JPEGImages/2007_{n:06d}.jpg',
    {'SegmentationClass/2007_{n:06d}.png': coding(range(21))},
    21,
    split='ImageSets/Segmentation/val.txt',
)
CONTEXT = Files(  # as mmseg's pascal_context.py converts them
    'VOCdevkit/VOC2010',
    'JPEGImages/2007_{n:06d}.jpg',
    {'SegmentationClassContext/2007_{n:06d}.png': coding(range(60))},
    60,
    has_ignored=False,
    split='ImageSets/SegmentationContext/val.txt',
)
_CITY = 'gtFine/val/{city}/{city}_{n:06d}_000019_gtFine_'
FILES = dict(
    voc21=VOC,
    context60=CONTEXT,
    coco_object=Files('coco_stuff164k', 'images/val2017/{n:012d}.jpg', {}, 81),
    voc20=VOC,
    context59=CONTEXT,
    coco_stuff=Files(
        'coco_stuff164k',
        'images/val2017/{n:012d}.jpg',
        {
            'annotations/val2017/{n:012d}.png': coding(STUFF_IDS),
            'annotations/val2017/{n:012d}_labelTrainIds.png': coding(range(171)),
        },
        171,
    ),
    cityscapes=Files(
        'cityscapes',
        'leftImg8bit/val/{city}/{city}_{n:06d}_000019_leftImg8bit.png',
        {
            f'{_CITY}labelIds.png': coding(CITY_IDS, ignored=0),
            f'{_CITY}labelTrainIds.png': coding(range(19)),
        },
        19,
    ),
    ade20k=Files(
        'ade/ADEChallengeData2016',
        'images/validation/ADE_val_{n:08d}.jpg',
        {'annotations/validation/ADE_val_{n:08d}.png': coding(range(1, 151), ignored=0)},
        150,
    ),
)
NAMES = tuple(FILES)


def make_miniature(name: str, root: Path, num_images: int = 3) -> Path:
    """Write a miniature of one benchmark, the same at every call.

    Args:
        name: One of NAMES.
        root: Every benchmark gets a folder of its own below it, ``root/name``, which stands for
            ``data/``: two benchmarks of different size never share files, as VOC 21 and 20 would.
        num_images: How many images.

    Returns:
        The ``data_root`` for the benchmark's config, e.g. ``root/voc21/VOCdevkit/VOC2012``.
    """
    files, rng = FILES[name], np.random.default_rng(0)
    data_root = Path(root) / name / files.folder
    numbers = range(1, num_images + 1)
    sizes = {n: SIZES[n % len(SIZES)] for n in numbers}
    if name == 'coco_object':
        drawn = draw_coco_objects(data_root, sizes)
    else:
        drawn = {n: draw_labels(rng, *sizes[n], files) for n in numbers}
    for n, labels in drawn.items():
        names = dict(n=n, city=CITIES[n % len(CITIES)])
        save(draw_image(rng, labels), data_root / files.image.format(**names))
        for path, codes in files.labels.items():
            image = Image.fromarray(codes[labels])
            if files is VOC:
                image.putpalette(np.uint8(PascalVOCDataset.METAINFO['palette']).tobytes())
            save(image, data_root / path.format(**names))
    if files.split:
        # an image of another split, which must not be evaluated, is among them
        save(Image.new('RGB', (8, 8)), data_root / 'JPEGImages' / '2012_004331.jpg')
        path = data_root / files.split
        path.parent.mkdir(parents=True)
        path.write_text(''.join(f'2007_{n:06d}\n' for n in numbers))
    return data_root


def save(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def draw_labels(rng, height, width, files):
    """Labels of blocks and of a disc, with a border of ignored pixels around the disc."""
    # the first and last labels of the data set are where mistakes by one show
    last = files.num_labels - 1
    blocks = rng.permuted([0, 1, last, *rng.integers(last, size=3)]).reshape(2, 3)
    labels = blocks[np.arange(height)[:, None] * 2 // height, np.arange(width) * 3 // width]
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - height / 2, x - width / 2)
    if files.has_ignored:
        labels[distance < 12] = 255
    labels[distance < 9] = rng.integers(last)
    return labels


def draw_image(rng, labels):
    """An image in which every label has a colour of its own, with noise."""
    colours = np.random.default_rng(7).integers(30, 225, (256, 3))
    noise = rng.integers(-25, 26, (*labels.shape, 3))
    return Image.fromarray((colours[labels] + noise).astype(np.uint8))


def draw_coco_objects(root, sizes):
    """An instances file, from which the project's own converter paints the label maps."""
    images, annotations = [], []
    for n, (height, width) in sizes.items():
        images.append(dict(id=n, file_name=f'{n:012d}.jpg', height=height, width=width))
        # the third image has no objects, as 48 of the 5000 true ones
        for fields in [] if n % 3 == 0 else coco_objects(height, width):
            annotations.append(dict(fields, id=len(annotations) + 1, image_id=n))
    names = COCOStuffDataset.METAINFO['classes']
    categories = [dict(id=i, name=names[number]) for number, i in enumerate(OBJECT_IDS)]
    folder = root / 'annotations'
    folder.mkdir(parents=True)
    content = dict(images=images, annotations=annotations, categories=categories)
    (folder / 'instances_val2017.json').write_text(json.dumps(content))
    write_coco_object_labels(folder / 'instances_val2017.json', folder / 'val2017')
    maps = {n: folder / 'val2017' / f'{n:012d}_instanceTrainIds.png' for n in sizes}
    return {n: np.asarray(Image.open(path)) for n, path in maps.items()}


def coco_objects(height, width):
    """A crowd as run lengths, the left half, and polygons over it, one of them in two parts."""
    half = width // 2
    runs = dict(size=[height, width], counts=[0, height * half, height * (width - half)])
    yield dict(category_id=OBJECT_IDS[40], iscrowd=1, segmentation=runs)
    parts = [5.5, 5, 25, 5, 15, 20], [25, 25, 34, 25, 34, 34, 25, 34]
    for category, polygons in ((OBJECT_IDS[0], parts), (OBJECT_IDS[-1], parts[:1])):
        yield dict(category_id=category, iscrowd=0, segmentation=polygons)
        parts = [np.subtract(part, 4.25).tolist() for part in parts]
