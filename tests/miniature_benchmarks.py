"""The eight benchmarks as a few small images each, with true folders, names and label coding."""

import json
import zlib
from pathlib import Path

import numpy as np
from mmseg.datasets import COCOStuffDataset, PascalVOCDataset
from PIL import Image, ImageDraw

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


def make_miniature(name: str, root: Path, num_images: int = 3, seed: int = 0) -> Path:
    """Write a miniature of one benchmark.

    Args:
        name: One of NAMES.
        root: Every benchmark gets a folder of its own below it, ``root/name``, which stands for
            ``data/``: two benchmarks of different size never share files, as VOC 21 and 20 would.
        num_images: How many images.
        seed: The same seed, name and number give the same files.

    Returns:
        The ``data_root`` for the benchmark's config, e.g. ``root/voc21/VOCdevkit/VOC2012``.
    """
    folder, make = _MAKERS[name]
    data_root = Path(root) / name / folder
    rng = np.random.default_rng([seed, zlib.crc32(folder.encode())])
    make(data_root, num_images, rng)
    return data_root


def true_labels(name: str, path: str | Path) -> np.ndarray:
    """The labels that a label file means, 255 ignored; independent of mmseg's loading."""
    values = np.array(Image.open(path)).astype(int)
    if name in ('voc20', 'context59', 'ade20k'):  # the file counts from 1
        values = np.where((values == 0) | (values == 255), 255, values - 1)
    return values


def draw_labels(rng, number, values, ignored=None):
    """Label map of blocks and a disc, with a border of ``ignored`` around the disc."""
    height, width = SIZES[number % len(SIZES)]
    chosen = rng.choice(values, 6)
    # the first and last labels of the data set are where mistakes by one show
    chosen[:3] = values[0], values[1], values[-1]
    blocks = chosen[rng.permuted(np.arange(6))].reshape(2, 3)
    labels = blocks[np.arange(height) * 2 // height][:, np.arange(width) * 3 // width]
    centre = rng.uniform(0.3, 0.7, 2) * (height, width)
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - centre[0], x - centre[1])
    if ignored is not None:
        labels = np.where(distance < 12, ignored, labels)
    labels = np.where(distance < 9, rng.choice(values), labels)
    return labels.astype(np.uint8)


def draw_image(rng, labels):
    """An image in which every label has a colour of its own, with noise."""
    colours = np.random.default_rng(7).integers(30, 225, (256, 3))
    noise = rng.integers(-25, 26, (*labels.shape, 3))
    return Image.fromarray((colours[labels] + noise).astype(np.uint8))


def save(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(path, **(dict(quality=95) if path.suffix == '.jpg' else {}))


def make_voc(root, count, rng):
    """Palette png; 0 background, 1 ... 20 classes, 255 the border of objects."""
    palette = np.zeros((256, 3), np.uint8)
    palette[:21] = PascalVOCDataset.METAINFO['palette']
    make_with_list(root, count, rng, 'Class', 'Segmentation', 21, 255, palette)


def make_context(root, count, rng):
    """As mmseg's pascal_context.py converts them: 0 background, 1 ... 59 classes; none ignored."""
    make_with_list(root, count, rng, 'ClassContext', 'SegmentationContext', 60)


def make_with_list(root, count, rng, labels_in, list_in, values, ignored=None, palette=None):
    """PASCAL's folders; an image of another split, which must not be evaluated, among them."""
    names = [f'2007_{33 + 9 * i:06d}' for i in range(count)]
    for number, name in enumerate(names):
        labels = draw_labels(rng, number, np.arange(values), ignored)
        save(draw_image(rng, labels), root / 'JPEGImages' / f'{name}.jpg')
        image = Image.fromarray(labels)
        if palette is not None:
            image.putpalette(palette.ravel().tolist())
        save(image, root / f'Segmentation{labels_in}' / f'{name}.png')
    save(np.zeros((8, 8, 3), np.uint8), root / 'JPEGImages' / '2012_004331.jpg')
    path = root / 'ImageSets' / list_in / 'val.txt'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(f'{name}\n' for name in names))


def make_coco_object(root, count, rng):
    """An instances file, from which the project's own converter paints the label maps."""
    images, annotations = [], []
    for number in range(count):
        height, width = SIZES[number % len(SIZES)]
        name = f'{139 + 146 * number:012d}.jpg'
        images.append(dict(id=139 + 146 * number, file_name=name, height=height, width=width))
        # the third image has no objects, as 48 of the 5000 true ones
        for fields in [] if number % 3 == 2 else draw_objects(rng, height, width):
            fields.update(id=len(annotations) + 1, image_id=images[-1]['id'])
            annotations.append(fields)
    names = COCOStuffDataset.METAINFO['classes']
    categories = [dict(id=i, name=names[n]) for n, i in enumerate(OBJECT_IDS)]
    content = dict(images=images, annotations=annotations, categories=categories)
    path = root / 'annotations' / 'instances_val2017.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    folder = root / 'annotations' / 'val2017'
    write_coco_object_labels(path, folder, overwrite=True)
    for image in images:
        name = Path(image['file_name'])
        labels = np.asarray(Image.open(folder / f'{name.stem}_instanceTrainIds.png'))
        save(draw_image(rng, labels), root / 'images' / 'val2017' / name)


def draw_objects(rng, height, width):
    """Polygons, one in two parts, and a crowd as run lengths; they overlap."""
    ids = [OBJECT_IDS[0], OBJECT_IDS[-1], *rng.choice(OBJECT_IDS, 2).tolist()]
    for number, category in enumerate(ids):
        top, left = rng.uniform(0, (height / 2, width / 2))
        high, wide = rng.uniform(8, (height / 2, width / 2))
        right, bottom = left + wide, top + high
        box = dict(bbox=[left, top, wide, high], area=wide * high, category_id=category)
        if number == 3:
            mask = Image.new('1', (width, height))
            ImageDraw.Draw(mask).ellipse([left, top, right, bottom], fill=1)
            flat = np.asarray(mask).T.ravel()
            ends = np.flatnonzero(np.diff(flat, prepend=False, append=not flat[-1]))
            counts = np.diff(ends, prepend=0).tolist()
            yield dict(box, iscrowd=1, segmentation=dict(size=[height, width], counts=counts))
            continue
        parts = [[left, top, right, top, (left + right) / 2, bottom]]
        if number == 2:
            parts.append([left, bottom, left + 4, bottom, left + 4, bottom + 4, left, bottom + 4])
        yield dict(box, iscrowd=0, segmentation=[np.round(part, 2).tolist() for part in parts])


def make_coco_stuff(root, count, rng):
    """The published files with ids up to 181, and the train ids that mmseg's tool adds."""
    ids = np.full(256, 255, np.uint8)
    ids[:171] = STUFF_IDS
    for number in range(count):
        name = f'{139 + 146 * number:012d}'
        labels = draw_labels(rng, number, np.arange(171), ignored=255)
        save(draw_image(rng, labels), root / 'images' / 'val2017' / f'{name}.jpg')
        save(ids[labels], root / 'annotations' / 'val2017' / f'{name}.png')
        save(labels, root / 'annotations' / 'val2017' / f'{name}_labelTrainIds.png')


def make_cityscapes(root, count, rng):
    """Train ids, 255 ignored, beside the published files with ids up to 33."""
    ids = np.zeros(256, np.uint8)
    ids[:19] = CITY_IDS
    for number in range(count):
        city = CITIES[number % len(CITIES)]
        name = f'{city}_{number:06d}_000019'
        labels = draw_labels(rng, number, np.arange(19), ignored=255)
        truth = root / 'gtFine' / 'val' / city
        save(
            draw_image(rng, labels), root / 'leftImg8bit' / 'val' / city / f'{name}_leftImg8bit.png'
        )
        save(ids[labels], truth / f'{name}_gtFine_labelIds.png')
        save(labels, truth / f'{name}_gtFine_labelTrainIds.png')


def make_ade20k(root, count, rng):
    """0 everything else (ignored), 1 ... 150 classes."""
    for number in range(1, count + 1):
        name = f'ADE_val_{number:08d}'
        labels = draw_labels(rng, number, np.arange(1, 151), ignored=0)
        save(draw_image(rng, labels), root / 'images' / 'validation' / f'{name}.jpg')
        save(labels, root / 'annotations' / 'validation' / f'{name}.png')


_MAKERS = {
    'voc21': ('VOCdevkit/VOC2012', make_voc),
    'context60': ('VOCdevkit/VOC2010', make_context),
    'coco_object': ('coco_stuff164k', make_coco_object),
    'voc20': ('VOCdevkit/VOC2012', make_voc),
    'context59': ('VOCdevkit/VOC2010', make_context),
    'coco_stuff': ('coco_stuff164k', make_coco_stuff),
    'cityscapes': ('cityscapes', make_cityscapes),
    'ade20k': ('ade/ADEChallengeData2016', make_ade20k),
}
NAMES = tuple(_MAKERS)
