"""Writes the label maps of the miniature benchmarks from COCO's panoptic annotations.

python projects/photos/make_benchmarks.py ../shared/data/coco_photos data/coco_photos

The first folder is laid out as COCO's own: images/SPLIT, panoptic_SPLIT.json (or
annotations/panoptic_SPLIT.json), panoptic_SPLIT. Photographs with annotations are copied beside
their label maps, for which split.txt names them.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from code_mm.atomic_write import atomic_write, write_text


def label_map(ids: np.ndarray, segments: list[dict], places: dict[int, int]) -> np.ndarray:
    """Place of every pixel's category, 255 where there is none: uint8 [H, W].

    Args:
        ids (np.ndarray): COCO's panoptic PNG [H, W, 3], ids of segments as R + 256 G + 65536 B.
        segments (list[dict]): ``segments_info`` of the image.
        places (dict[int, int]): Category id -> place.
    """
    ids = ids.astype(np.int64) @ [1, 256, 65536]
    labels = np.full(ids.shape, 255, np.uint8)
    for segment in segments:
        labels[ids == segment['id']] = places[segment['category_id']]
    return labels


def convert(source: Path, target: Path, splits: list[str]) -> int:
    """Write images, label maps and the list of both; returns how many."""
    names = []
    for split in splits:
        files = [source / place / f'panoptic_{split}.json' for place in ('', 'annotations')]
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            raise FileNotFoundError(f"expected COCO's {files[0]} or {files[1]}, but found neither")
        content = json.loads(file.read_text())
        categories = sorted(category['id'] for category in content['categories'])
        places = {category: place for place, category in enumerate(categories)}
        for folder in ('images', 'annotations'):
            (target / folder / split).mkdir(parents=True, exist_ok=True)
        for annotation in content['annotations']:
            png = Path(annotation['file_name'])
            ids = np.asarray(Image.open(file.with_suffix('') / png).convert('RGB'))
            labels = label_map(ids, annotation['segments_info'], places)
            with atomic_write(target / 'annotations' / split / png) as unfinished:
                Image.fromarray(labels).save(unfinished, format='PNG')
            photo = Path('images', split, png.with_suffix('.jpg'))
            shutil.copyfile(source / photo, target / photo)
            names.append(f'{split}/{png.stem}\n')
    write_text(target / 'split.txt', ''.join(names))
    return len(names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', type=Path, help="a folder laid out as COCO's")
    parser.add_argument('target', type=Path, help='where the miniatures go: data/coco_photos')
    parser.add_argument('--splits', nargs='+', default=['train2017', 'val2017'])
    args = parser.parse_args()
    print(f'{convert(args.source, args.target, args.splits)} photographs: {args.target}')


if __name__ == '__main__':
    main()
