"""What a refiner adds to masks that are right but coarse: no CLIP, no training.

True masks of photographs are reduced to 28 x 28 cells (the share of each class in a cell), a set
share of cells gets another class of the same image, and three refiners give the full size back:
bilinear interpolation, PAMR as this package runs it (on a grid of 112), and a guided filter and
a joint bilateral filter of kornia (``pip install kornia``). mIoU and boundary IoU (Cheng et al.,
CVPR 2021; bands of 2 % of the diagonal) over all classes and images, in percent.

Example:
    python projects/photos/refiners.py ../shared/data/coco_photos --out work_dirs/refiners
"""

import argparse
import json
from pathlib import Path

import cv2
import kornia.filters
import mmcv
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.utils import track_iter_progress
from torch import Tensor

from code_mm.atomic_write import write_text
from code_mm.evaluation.per_image_iou import class_ious, confusion_counts
from code_mm.models.post_processing import PAMR

CELLS, GRID = 28, 112
NOISES = (0.0, 0.05, 0.1, 0.2, 0.4)
IGNORED = 255


def coarse_masks(labels: np.ndarray, noise: float, rng: np.random.Generator) -> Tensor:
    """Shares [1, k, 28, 28] of the image's k classes; ``noise`` of the cells are of another one."""
    masks = torch.from_numpy(np.stack([labels == c for c in classes_of(labels)])).float()
    shares = F.adaptive_avg_pool2d(masks[None], CELLS)
    k = shares.shape[1]
    if k > 1:
        rows, columns = np.nonzero(rng.random((CELLS, CELLS)) < noise)
        now = shares[0, :, rows, columns].argmax(0).numpy()
        other = (now + rng.integers(1, k, len(now))) % k
        shares[0, :, rows, columns] = F.one_hot(torch.from_numpy(other), k).T.float()
    return shares


def classes_of(labels: np.ndarray) -> np.ndarray:
    """Labels that occur, but the ignored one."""
    found = np.unique(labels)
    return found[found != IGNORED]


def bilinear(image: Tensor, masks: Tensor) -> Tensor:
    return F.interpolate(masks, image.shape[-2:], mode='bilinear')


def pamr(image: Tensor, masks: Tensor) -> Tensor:
    masks = F.interpolate(masks, (GRID, GRID), mode='bilinear')
    return bilinear(image, PAMR(num_iter=10, dilations=(1, 2, 4, 8, 12, 24))(image, masks))


def guided(image: Tensor, masks: Tensor) -> Tensor:
    radius = max(image.shape[-2:]) // CELLS  # a cell to each side
    return kornia.filters.guided_blur(
        image / 255, bilinear(image, masks), 2 * radius + 1, 1e-3, subsample=4
    )


def joint_bilateral(image: Tensor, masks: Tensor) -> Tensor:
    small = F.interpolate(image / 255, (GRID, GRID), mode='area')
    masks = F.interpolate(masks, (GRID, GRID), mode='bilinear')
    refined = kornia.filters.joint_bilateral_blur(masks, small, (13, 13), 0.1, (4.0, 4.0))
    return bilinear(image, refined)


REFINERS = dict(bilinear=bilinear, pamr=pamr, guided=guided, joint_bilateral=joint_bilateral)


def boundary(mask: np.ndarray) -> np.ndarray:
    """The mask's pixels within 2 % of the image's diagonal of its border."""
    width = max(1, round(0.02 * np.hypot(*mask.shape)))
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    inner = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1]
    return mask & (inner == 0)


def boundary_counts(labels: np.ndarray, found: np.ndarray, num_classes: int) -> np.ndarray:
    """Pixels [num_classes, 2] in both boundaries, and in either."""
    counts = np.zeros((num_classes, 2), np.int64)
    for c in classes_of(labels):
        truth, other = boundary(labels == c), boundary((found == c) & (labels != IGNORED))
        counts[c] = (truth & other).sum(), (truth | other).sum()
    return counts


def read(data: Path, size: int):
    """Images [1, 3, H, W] in 0..255 of that shorter side, and their labels, ignored ones 255."""
    for file in sorted((data / 'semantic').glob('*/*.png')):
        image = mmcv.imread(data / 'images' / file.parent.name / f'{file.stem}.jpg')
        image = mmcv.imrescale(image, (10**6, size))
        labels = mmcv.imread(file, 'unchanged')
        h, w = image.shape[:2]
        labels = mmcv.imresize(
            np.where(labels == 0, IGNORED, labels), (w, h), interpolation='nearest'
        )
        if len(classes_of(labels)):
            yield torch.from_numpy(image).movedim(-1, 0)[None].float(), labels


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('data', type=Path, help='coco_photos')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/refiners'))
    parser.add_argument('--size', type=int, default=448, help='shorter side in pixels')
    args = parser.parse_args()
    num_classes = 201  # COCO's panoptic categories go up to 200
    counts = {
        (noise, name): [np.zeros((num_classes,) * 2, np.int64), np.zeros((num_classes, 2))]
        for noise in NOISES
        for name in REFINERS
    }
    for image, labels in track_iter_progress(list(read(args.data, args.size))):
        kinds = classes_of(labels)
        for noise in NOISES:
            masks = coarse_masks(labels, noise, np.random.default_rng(0))
            for name, refine in REFINERS.items():
                found = kinds[refine(image, masks)[0].argmax(0).numpy()]
                sums = counts[noise, name]
                sums[0] += confusion_counts(found, labels, num_classes, IGNORED)
                sums[1] += boundary_counts(labels, found, num_classes)
    lines = ['| noise | ' + ' | '.join(REFINERS) + ' |', '|---:|' + '---:|' * len(REFINERS)]
    rows = []
    for noise in NOISES:
        cells = []
        for name in REFINERS:
            confusion, boundaries = counts[noise, name]
            with np.errstate(invalid='ignore'):
                miou = 100 * np.nanmean(class_ious(confusion))
                edge = 100 * np.nanmean(boundaries[:, 0] / boundaries[:, 1])
            rows.append(dict(name=name, noise=noise, miou=miou, boundary_iou=edge))
            cells.append(f'{miou:.1f} / {edge:.1f}')
        lines.append(f'| {noise} | ' + ' | '.join(cells) + ' |')
    args.out.mkdir(parents=True, exist_ok=True)
    write_text(args.out / 'refiners.json', json.dumps(rows, indent=1))
    write_text(args.out / 'refiners.md', '\n'.join(lines) + '\n')
    print('\n' + '\n'.join(lines))
    print(f'written: {args.out}/refiners.json, refiners.md')


if __name__ == '__main__':
    main()
