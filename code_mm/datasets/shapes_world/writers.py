"""Shapes-world data on disk: img2dataset shards, ADE20K and Cityscapes folders."""

import hashlib
import io
import json
import tarfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .world import ShapesSample, ShapesWorld

_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]
_PARQUET_COLUMNS = (
    *('caption', 'url', 'key', 'status', 'error_message', 'width', 'height'),
    *('original_width', 'original_height', 'exif', 'sha256'),
)


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


def _img2dataset_record(sample: ShapesSample, key: str, jpeg: bytes, url: str) -> dict:
    height, width = sample.image.shape[:2]
    return {
        'caption': sample.caption.text,
        'url': url,
        'key': key,
        'status': 'success',
        'error_message': None,
        'width': width,
        'height': height,
        'original_width': width,
        'original_height': height,
        'exif': '{}',
        'sha256': hashlib.sha256(jpeg).hexdigest(),
    }


def _write_shard(shard: int, world: ShapesWorld, root: Path, count: int, per_shard: int) -> None:
    start, rows = time.time(), []
    indices = range(shard * per_shard, min((shard + 1) * per_shard, count))
    with tarfile.open(root / f'{shard:05d}.tar', 'w') as tar:
        for position, index in enumerate(indices):
            sample = world.sample('train', index)
            key = f'{shard:05d}{position:04d}'
            jpeg = _encode(sample.image[..., ::-1], '.jpg')
            url = f'shapes://{world.name}/{world.seed}/train/{index}'
            rows.append(_img2dataset_record(sample, key, jpeg, url))
            fields = json.dumps({**rows[-1], **caption_record(sample)}, indent=4).encode()
            members = {'jpg': jpeg, 'json': fields, 'txt': sample.caption.text.encode()}
            for suffix, data in members.items():
                member = tarfile.TarInfo(f'{key}.{suffix}')
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    columns = {name: [row[name] for row in rows] for name in _PARQUET_COLUMNS}
    columns['error_message'] = pa.array(columns['error_message'], pa.string())
    for name in ('width', 'height', 'original_width', 'original_height'):
        columns[name] = pa.array(columns[name], pa.int32())
    pq.write_table(pa.table(columns), root / f'{shard:05d}.parquet')
    stats = {
        'count': len(rows),
        'successes': len(rows),
        'failed_to_download': 0,
        'failed_to_resize': 0,
        'duration': time.time() - start,
        'start_time': start,
        'end_time': time.time(),
        'status_dict': {'success': len(rows)},
    }
    (root / f'{shard:05d}_stats.json').write_text(json.dumps(stats, indent=4))


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
    """Write the training part as img2dataset writes it (``00000.tar``, parquet and stats beside).

    Args:
        world: Where the samples come from (split ``train``).
        root: Folder to write into; made if absent.
        count: Number of samples.
        per_shard: Samples per shard, at most 10000 (img2dataset's keys have four digits for it).
        workers: Processes.

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
        world: Where the samples come from.
        root: Folder to write into; made if absent.
        count: Number of images.
        layout: ``ade20k`` or ``cityscapes``.
        split: Name of the split; ``validation`` for ADE20K, ``val`` for Cityscapes by default.
        workers: Processes.

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
