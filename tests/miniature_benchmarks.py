"""The eight benchmarks as a few small images each, with true folders, names and label coding."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from coco_object_labels import write_coco_object_labels
from mmseg.datasets import COCOStuffDataset, PascalVOCDataset
from PIL import Image

from code_mm.datasets.benchmarks.table import BENCHMARKS

SIZES = [(40, 56), (64, 48), (48, 72), (36, 36)]  # height, width
# COCO's category ids: 80 of 1 ... 90.
OBJECT_IDS = [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
CITIES = ('frankfurt', 'lindau', 'munster')


class Files(NamedTuple):
    """How a benchmark's files are called and coded; ``n`` is the image's number from 1 on."""

    stem: str
    num_labels: int
    image: str = '.jpg'
    labels: str = '.png'
    first: int = 0  # value in the files of the first label
    has_ignored: bool = True


FILES = dict(
    voc=Files('2007_{n:06d}', 21),
    context=Files('2007_{n:06d}', 60, has_ignored=False),  # as mmseg's pascal_context.py has it
    coco=Files('{n:012d}', 171, labels='_labelTrainIds.png'),
    cityscapes=Files(
        '{city}/{city}_{n:06d}_000019', 19, '_leftImg8bit.png', '_gtFine_labelTrainIds.png'
    ),
    ade20k=Files('ADE_val_{n:08d}', 150, first=1),  # 0 is what is ignored
)
NAMES = tuple(BENCHMARKS)


def make_miniature(name: str, root: Path, num_images: int = 3) -> Path:
    """Write a miniature of one benchmark, the same at every call.

    Every benchmark gets a folder of its own, ``root/name``, which stands for ``data/``: two of
    different size never share files, as VOC 21 and 20 would. Returns the ``data_root`` for the
    benchmark's config, e.g. ``root/voc21/VOCdevkit/VOC2012``.
    """
    known, rng = BENCHMARKS[name], np.random.default_rng(0)
    files = next(files for kind, files in FILES.items() if name.startswith(kind))
    data_root = Path(root) / name / known.data_root.removeprefix('data/')
    sizes = {n: SIZES[n % len(SIZES)] for n in range(1, num_images + 1)}
    objects = make_coco_object(data_root, sizes) if name == 'coco_object' else {}
    for n, size in sizes.items():
        stem = files.stem.format(n=n, city=CITIES[n % len(CITIES)])
        labels = objects[n] if objects else draw_labels(rng, *size, files)
        noise = Image.fromarray(rng.integers(256, size=(*labels.shape, 3), dtype=np.uint8))
        save(noise, data_root / known.img_path / f'{stem}{files.image}')
        if not objects:
            image = Image.fromarray(np.uint8(labels + files.first))  # 255 + 1 is 0
            if name.startswith('voc'):
                image.putpalette(np.uint8(PascalVOCDataset.METAINFO['palette']).tobytes())
            save(image, data_root / known.seg_map_path / f'{stem}{files.labels}')
    if known.ann_file:
        # an image of another split, which must not be evaluated, is among them
        save(Image.new('RGB', (8, 8)), data_root / known.img_path / '2012_004331.jpg')
        path = data_root / known.ann_file
        path.parent.mkdir(parents=True)
        path.write_text(''.join(f'{files.stem.format(n=n)}\n' for n in sizes))
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


def make_coco_object(root, sizes):
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
