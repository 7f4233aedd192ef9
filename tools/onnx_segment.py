"""Segments a photo with onnxruntime, NumPy and Pillow alone: no torch, no OpenMMLab.

FOLDER is what tools/export_onnx.py wrote with --classes (image.onnx and classes.npz).

Example:
    python tools/onnx_segment.py photo.jpg exported --out labels.png
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def resized(photo: Image.Image, scale: list[int] | None) -> np.ndarray:
    """uint8 [1, H, W, 3]; sides of at most ``scale``, in either order, as mmcv's Resize."""
    if scale:
        factor = min(max(scale) / max(photo.size), min(scale) / min(photo.size))
        size = [int(side * factor + 0.5) for side in photo.size]
        photo = photo.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(photo)[None]


def starts(length: int, crop: int, stride: int) -> list[int]:
    """First pixels of windows on an axis; the last one ends with the image."""
    count = max(length - crop + stride - 1, 0) // stride + 1
    return [max(min(i * stride + crop, length) - crop, 0) for i in range(count)]


def mean_scores(run, image: np.ndarray, crop: list[int], stride: list[int]) -> np.ndarray:
    """Scores [classes, H, W], averaged over windows."""
    size = image.shape[1:3]
    total, seen = 0, np.zeros(size, np.float32)
    for top in starts(size[0], crop[0], stride[0]):
        for left in starts(size[1], crop[1], stride[1]):
            window = np.s_[:, top : top + crop[0], left : left + crop[1]]
            scores = run(image[window])[0]
            if seen.max() == 0:
                total = np.zeros((len(scores), *size), np.float32)
            total[window] += scores
            seen[window[1:]] += 1
    return total / seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('photo')
    parser.add_argument('folder', type=Path)
    parser.add_argument('--out', default='labels.png', help='PNG whose values are labels')
    args = parser.parse_args()

    session = onnxruntime.InferenceSession(args.folder / 'image.onnx')
    told = session.get_modelmeta().custom_metadata_map
    told = {name: json.loads(value) for name, value in told.items()}
    wanted = [node.name for node in session.get_inputs()[1:]]
    classes = np.load(args.folder / 'classes.npz') if wanted else {}
    vocabulary = {name: classes[name] for name in wanted}
    names = classes['names'] if wanted else told['names']

    def run(image: np.ndarray) -> np.ndarray:
        return session.run(None, {'image': image, **vocabulary})[0]

    photo = ImageOps.exif_transpose(Image.open(args.photo)).convert('RGB')
    image = resized(photo, told['scale'])
    if session.get_outputs()[0].name == 'labels':
        best = run(image)[0]
    else:
        crop = told['crop_size'] or image.shape[1:3]
        best = mean_scores(run, image, crop, told['stride'] or crop).argmax(0)
    labels = best.astype(np.uint8 if len(names) <= 256 else np.uint16)
    Image.fromarray(labels).resize(photo.size, Image.Resampling.NEAREST).save(args.out)
    shares = np.bincount(labels.ravel(), minlength=len(names)) / labels.size
    for name, share in zip(names, shares, strict=True):
        print(f'{share:6.1%}  {name}')


if __name__ == '__main__':
    main()
