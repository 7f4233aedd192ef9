"""Label maps of COCO-Object, painted from COCO's instance annotations."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from code_mm.atomic_write import atomic_write
from code_mm.datasets.benchmarks.coco_masks import decode_mask
from code_mm.datasets.benchmarks.coco_object import NUM_CATEGORIES, SUFFIX, COCOObjectDataset

from .parallel_jobs import run_jobs


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
        width (int): Of the image, in pixels.
        labels (Mapping[int, int]): Category id -> label.

    Returns:
        np.ndarray: uint8 labels (height, width); 0 where no object is.
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
    ordered = sorted(categories, key=lambda category: category['id'])
    names = tuple(category['name'] for category in ordered)
    expected = COCOObjectDataset.METAINFO['classes'][1:]
    if names != expected:
        missing = sorted(set(expected) - set(names))
        raise ValueError(
            f"expected COCO's {NUM_CATEGORIES} object categories, but got {len(names)} "
            f'({", ".join(names[:3])} ...), without {missing[:3]}; give instances_val2017.json of '
            "COCO's annotations_trainval2017.zip"
        )
    return {category['id']: label for label, category in enumerate(ordered, start=1)}


def write_coco_object_labels(
    instances: str | Path, folder: str | Path, num_processes: int = 1, overwrite: bool = False
) -> tuple[int, int]:
    """Write ``<image>_instanceTrainIds.png`` for every image of an instances file.

    Images without any object get a map of background. Files that are there are whole and left as
    they are, so an interrupted run goes on. A progress bar shows how far it is.

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
    unknown = set(by_image) - {image['id'] for image in data['images']}
    if unknown:
        raise ValueError(
            f'expected annotations of images that {instances} lists, but got image ids '
            f'{sorted(unknown)[:3]}; the file is not whole'
        )
    folder.mkdir(parents=True, exist_ok=True)
    jobs = []
    for image in data['images']:
        path = folder / (Path(image['file_name']).stem + SUFFIX)
        if overwrite or not path.exists():
            jobs.append((path, by_image[image['id']], image['height'], image['width']))
    workers = max(1, min(num_processes, len(jobs)))
    for _ in run_jobs(partial(_write, labels), jobs, workers, description='label maps'):
        pass
    return len(jobs), len(data['images']) - len(jobs)


def _read(path: Path) -> dict:
    if not path.is_file():
        raise FileNotFoundError(
            f"expected COCO's instances_val2017.json, but {path} does not exist; it is in "
            'annotations_trainval2017.zip'
        )
    try:
        data = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'expected json in {path}, but got {error}; download it again') from error
    keys = ('images', 'annotations', 'categories')
    missing = [key for key in keys if not isinstance(data, dict) or key not in data]
    if missing:
        raise ValueError(
            f'expected an instances file of COCO with {", ".join(keys)}, but {path} has no '
            f'{", ".join(missing)}'
        )
    return data


def _write(labels: Mapping[int, int], job: tuple[Path, Sequence[Mapping], int, int]) -> None:
    path, annotations, height, width = job
    painted = paint_labels(annotations, height, width, labels)
    with atomic_write(path) as unfinished:
        Image.fromarray(painted).save(unfinished, format='PNG')
