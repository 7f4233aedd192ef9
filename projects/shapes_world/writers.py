"""Shapes-world data on disk: img2dataset shards, ADE20K and Cityscapes folders."""

import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np

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
    write_shard(
        root,
        shard,
        (
            _shard_sample(world, index)
            for index in range(shard * per_shard, min((shard + 1) * per_shard, count))
        ),
    )


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


def _map(function, items, workers: int) -> None:
    if workers <= 1:
        for item in items:
            function(item)
        return
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(function, items))


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
        ValueError: ``count`` or ``per_shard`` out of range.
    """
    if count < 1 or not 1 <= per_shard <= 10000:
        raise ValueError(
            f'expected count >= 1 and 1 <= per_shard <= 10000, but got {count} and {per_shard}'
        )
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    job = partial(_write_shard, world=world, root=root, count=count, per_shard=per_shard)
    _map(job, range(-(-count // per_shard)), workers)


def _evaluation_paths(root: Path, name: str, layout: str, split: str) -> tuple:
    if layout == 'ade20k':
        return (
            root / 'images' / split / f'{name}.jpg',
            root / 'annotations' / split / f'{name}.png',
            root / 'annotations_with_backgrounds' / split / f'{name}.png',
        )
    stem = f'shapes_{name}'
    return (
        root / 'leftImg8bit' / split / 'shapes' / f'{stem}_leftImg8bit.png',
        root / 'gtFine' / split / 'shapes' / f'{stem}_gtFine_labelTrainIds.png',
        root / 'gtFineWithBackgrounds' / split / 'shapes' / f'{stem}_gtFine_labelTrainIds.png',
    )


def _write_evaluation_image(
    index: int, world: ShapesWorld, root: Path, layout: str, split: str
) -> None:
    sample = world.sample(split, index)
    paths = _evaluation_paths(root, f'{index:06d}', layout, split)
    pictures = (
        sample.image[..., ::-1],
        world.label_map(sample),
        world.label_map(sample, background_nouns=True),
    )
    for path, picture in zip(paths, pictures, strict=True):
        path.write_bytes(_encode(picture, path.suffix))


def write_evaluation(
    world: ShapesWorld,
    root,
    count: int,
    layout: str = 'ade20k',
    split: str | None = None,
    workers: int = 1,
) -> None:
    """Write images with label maps in the folder layout of ADE20K or Cityscapes.

    Label values of both layouts: 0 background, ``1 + i`` object noun ``i`` of the level. The
    label maps ``annotations_with_backgrounds`` (``gtFineWithBackgrounds``) hold the background's
    own noun, ``1 + number of object nouns + j``, in place of 0. A line per image of
    ``captions_<split>.jsonl`` keeps caption, word owners and objects.

    Args:
        world (ShapesWorld): Where the samples come from.
        root: Folder to write into; made if absent.
        count (int): Number of images.
        layout (str): ``ade20k`` or ``cityscapes``.
        split (str, optional): Name of the split; ``validation`` for ADE20K, ``val`` for Cityscapes
            by default.
        workers (int): Processes.

    Raises:
        ValueError: Unknown layout, or no images asked for.
    """
    if layout not in ('ade20k', 'cityscapes'):
        raise ValueError(f"expected layout 'ade20k' or 'cityscapes', but got {layout!r}")
    if count < 1:
        raise ValueError(f'expected count >= 1, but got {count}')
    root = Path(root)
    split = split or ('validation' if layout == 'ade20k' else 'val')
    for path in _evaluation_paths(root, 'x', layout, split):
        path.parent.mkdir(parents=True, exist_ok=True)
    job = partial(_write_evaluation_image, world=world, root=root, layout=layout, split=split)
    _map(job, range(count), workers)
    with open(root / f'captions_{split}.jsonl', 'w') as file:
        for index in range(count):
            sample = world.sample(split, index)
            image = _evaluation_paths(root, f'{index:06d}', layout, split)[0].relative_to(root)
            record = {'image': str(image), 'caption': sample.caption.text, **caption_record(sample)}
            file.write(json.dumps(record) + '\n')
