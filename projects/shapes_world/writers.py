"""Shapes-world data on disk: img2dataset shards, ADE20K's folders."""

import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from code_mm.atomic_write import write_text
from code_mm.datasets.preparation.shard_writer import ShardSample, write_shard

from .world import ShapesSample, ShapesWorld

_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]


def _encode(image: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, image, _JPEG if suffix == '.jpg' else [])[1].tobytes()


def caption_record(sample: ShapesSample) -> dict:
    """What a shard's json keeps beyond img2dataset's fields.

    Returns:
        dict with ``nouns`` (of the caption, in its order), ``words`` (rows [word, start, end,
        owner noun or null]), ``background``, ``objects`` (noun, colour, texture, area as a
        fraction of the image as seen, named by the caption or not; painter's order).
    """
    caption, scene = sample.caption, sample.scene
    objects = [
        {
            'noun': obj.noun,
            'colour': obj.colour,
            'texture': obj.texture,
            'area': round(float((sample.instances == i + 1).mean()), 4),
            'named': obj.noun in caption.nouns,
        }
        for i, obj in enumerate(scene.objects)
    ]
    return {
        'nouns': list(caption.nouns),
        'words': [list(word) for word in caption.words],
        'background': scene.background,
        'objects': objects,
    }


def _write_shard(shard: int, world: ShapesWorld, root: Path, count: int, per_shard: int) -> None:
    indices = range(shard * per_shard, min((shard + 1) * per_shard, count))
    write_shard(root, shard, (_shard_sample(world, index) for index in indices))


def _shard_sample(world: ShapesWorld, index: int) -> ShardSample:
    sample = world.sample('train', index)
    height, width = sample.image.shape[:2]
    return ShardSample(
        image=_encode(sample.image[..., ::-1], '.jpg'),
        extension='jpg',
        caption=sample.caption.text,
        url=f'shapes://{world.name}/{world.seed}/train/{index}',
        width=width,
        height=height,
        fields=caption_record(sample),
    )


def _map(function, items, workers: int) -> list:
    if workers <= 1:
        return [function(item) for item in items]
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(function, items))


def write_shards(
    world: ShapesWorld, root, count: int, per_shard: int = 1000, workers: int = 1
) -> None:
    """Write the training part as img2dataset writes it (``00000.tar``, stats beside).

    Args:
        world (ShapesWorld): Where the samples come from (split ``train``).
        root: Folder to write into; made if absent.
        count (int): Number of samples.
        per_shard (int): Samples per shard, at most 10000 (img2dataset's keys have four digits for
            it).
        workers (int): Processes.

    Raises:
        ValueError: ``per_shard`` out of range.
    """
    if not 1 <= per_shard <= 10000:
        raise ValueError(f'expected 1 <= per_shard <= 10000, but got {per_shard}')
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    job = partial(_write_shard, world=world, root=root, count=count, per_shard=per_shard)
    _map(job, range(-(-count // per_shard)), workers)


def _write_evaluation_image(index: int, world: ShapesWorld, root: Path, split: str) -> str:
    sample, name = world.sample(split, index), f'{index:06d}'
    image = f'images/{split}/{name}.jpg'
    labels = world.label_map(sample)
    with_backgrounds = world.label_map(sample, background_nouns=True)
    for path, picture in {
        image: sample.image[..., ::-1],
        f'annotations/{split}/{name}.png': labels,
        f'annotations_with_backgrounds/{split}/{name}.png': with_backgrounds,
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(_encode(picture, Path(path).suffix))
    record = {'image': image, 'caption': sample.caption.text, **caption_record(sample)}
    return json.dumps(record) + '\n'


def write_evaluation(
    world: ShapesWorld, root, count: int, split: str = 'validation', workers: int = 1
) -> None:
    """Write images with label maps into ADE20K's folders.

    Label values: 0 background, ``1 + i`` object noun ``i`` of the level. The label maps
    ``annotations_with_backgrounds`` hold the background's own noun, ``1 + number of object nouns +
    j``, in place of 0. A line per image of ``captions_<split>.jsonl`` keeps caption, word owners
    and objects.

    Args:
        world (ShapesWorld): Where the samples come from.
        root: Folder to write into; made if absent.
        count (int): Number of images.
        split (str): Name of the split.
        workers (int): Processes.
    """
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    job = partial(_write_evaluation_image, world=world, root=root, split=split)
    write_text(root / f'captions_{split}.jsonl', ''.join(_map(job, range(count), workers)))
