"""Label maps of COCO-Object, painted from COCO's instance annotations."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from code_mm.atomic_write import atomic_write
from code_mm.datasets.benchmarks import COCOObjectDataset
from code_mm.datasets.preparation.parallel_jobs import run_jobs


def decode_mask(
    segmentation: Sequence[Sequence[float]] | Mapping, height: int, width: int
) -> np.ndarray:
    """Decode the ``segmentation`` of an annotation with COCO's own tools.

    Args:
        segmentation: A list of polygons ``[x0, y0, x1, y1, ...]`` in pixels, whose union is the
            mask, or a run-length encoding ``{'size': [height, width], 'counts': ...}`` with counts
            as a list of numbers or as COCO's compressed text.
        height (int): Of the image, in pixels; an encoding of another size is a ValueError.
        width (int): Likewise.

    Returns:
        np.ndarray: Mask (height, width) of bools.
    """
    if isinstance(segmentation, Mapping):
        size, counts = list(segmentation['size']), segmentation['counts']
        if size != [height, width]:
            raise ValueError(
                f'expected a mask of the size of its image [{height}, {width}], but got {size}'
            )
        if isinstance(counts, (str, bytes)):
            return coco.decode(dict(size=size, counts=counts)).astype(bool)
        if sum(counts) != height * width or min(counts, default=0) < 0:
            raise ValueError(
                f'expected run lengths with the sum {height} * {width} = {height * width}, but '
                f'got {sum(counts)}; the file is damaged or belongs to another image'
            )
        runs = coco.frPyObjects(dict(size=size, counts=list(counts)), height, width)
        return coco.decode(runs).astype(bool)
    # COCO's tools would take four numbers for a box, and ignore an odd one
    for polygon in segmentation:
        if len(polygon) % 2 or len(polygon) < 6:
            raise ValueError(
                'expected a polygon [x0, y0, x1, y1, ...] of at least three points, but got '
                f'{len(polygon)} numbers'
            )
    if not len(segmentation):
        return np.zeros((height, width), bool)
    polygons = [list(map(float, polygon)) for polygon in segmentation]
    return coco.decode(coco.merge(coco.frPyObjects(polygons, height, width))).astype(bool)


def paint_labels(
    annotations: Sequence[Mapping], height: int, width: int, labels: Mapping[int, int]
) -> np.ndarray:
    """Paint the objects of one image over each other.

    Where objects overlap, the smaller one is seen: a cup stands in front of its table. The order
    is (1) crowd regions, rough outlines of many objects of one category, which are labelled as
    that category, (2) objects from the largest to the smallest mask, in pixels; equal ones by
    annotation id, the higher id on top. An annotation that cannot be painted is a ValueError.

    Args:
        annotations (Sequence[Mapping]): COCO's, of this image.
        height (int): Of the image, in pixels.
        width (int): Likewise.
        labels (Mapping[int, int]): Category id -> label; 0 is what no object covers.
    """
    layers = []
    for annotation in annotations:
        try:
            mask = decode_mask(annotation['segmentation'], height, width)
            label = labels[annotation['category_id']]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f'annotation {annotation.get("id")} of image {annotation.get("image_id")}: {error}'
            ) from error
        order = (not annotation.get('iscrowd', 0), -int(mask.sum()), annotation['id'])
        layers.append((order, label, mask))
    painted = np.zeros((height, width), np.uint8)
    for _, label, mask in sorted(layers, key=lambda layer: layer[0]):
        painted[mask] = label
    return painted


def category_labels(categories: Sequence[Mapping]) -> dict[int, int]:
    """Labels 1 ... 80 of COCO's category ids, which have gaps, in the order of the ids."""
    names = {category['id']: category['name'] for category in categories}
    expected = COCOObjectDataset.METAINFO['classes'][1:]
    if tuple(names[key] for key in sorted(names)) != expected:
        raise ValueError(
            f"expected COCO's {len(expected)} object categories, but got {len(names)}, without "
            f'{sorted(set(expected) - set(names.values()))[:3]}; give instances_val2017.json of '
            "COCO's annotations_trainval2017.zip"
        )
    return {key: label for label, key in enumerate(sorted(names), start=1)}


def write_coco_object_labels(
    instances: str | Path, folder: str | Path, num_processes: int = 1, overwrite: bool = False
) -> tuple[int, int]:
    """Write ``<image>_instanceTrainIds.png`` for every image of an instances file.

    Images without any object get a map of background. Files that are there are whole and left as
    they are, so an interrupted run goes on.

    Args:
        instances (str | Path): ``instances_val2017.json``.
        folder (str | Path): Where the label maps go, ``annotations/val2017``; it is made.
        num_processes (int): How many images are painted at a time.
        overwrite (bool): Paint the existing ones again.

    Returns:
        tuple[int, int]: How many were written, and how many were there.
    """
    data, folder = _read(Path(instances)), Path(folder)
    labels, by_image = category_labels(data['categories']), defaultdict(list)
    for annotation in data['annotations']:
        by_image[annotation['image_id']].append(annotation)
    if unknown := set(by_image) - {image['id'] for image in data['images']}:
        raise ValueError(
            f'expected annotations of images that {instances} lists, but got image ids '
            f'{sorted(unknown)[:3]}; the file is not whole'
        )
    folder.mkdir(parents=True, exist_ok=True)
    jobs = []
    for image in data['images']:
        path = folder / f'{Path(image["file_name"]).stem}_instanceTrainIds.png'
        if overwrite or not path.exists():
            jobs.append((path, by_image[image['id']], image['height'], image['width']))
    for _ in run_jobs(partial(_write, labels), jobs, num_processes, description='label maps'):
        pass
    return len(jobs), len(data['images']) - len(jobs)


def _read(path: Path) -> dict:
    expected = "expected COCO's instances_val2017.json (in annotations_trainval2017.zip)"
    try:
        data = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise FileNotFoundError(f'{expected}, but {path} does not exist') from None
    except ValueError as error:
        raise ValueError(f'{expected}, but {path} is cut or damaged: {error}') from error
    missing = {'images', 'annotations', 'categories'}.difference(data)
    if missing:
        raise ValueError(f'{expected}, but {path} has no {", ".join(sorted(missing))}')
    return data


def _write(labels: Mapping[int, int], job: tuple[Path, Sequence[Mapping], int, int]) -> None:
    path, *image = job
    painted = paint_labels(*image, labels)
    with atomic_write(path) as unfinished:
        Image.fromarray(painted).save(unfinished, format='PNG')
