"""Shards of photo-like images with web-like captions, to measure loading without any data."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from code_mm.datasets.preparation.shard_writer import ShardSample, write_shard

_FALL = 1.8  # exponent with which files become about as large as those of real photos
_THINGS = (
    *('woman', 'man', 'child', 'dog', 'cat', 'horse', 'boat', 'bridge', 'river', 'mountain'),
    *('kitchen', 'table', 'chair', 'lamp', 'window', 'street', 'bicycle', 'car', 'train'),
    *('flower', 'garden', 'beach', 'sunset', 'wedding', 'cake', 'coffee', 'book', 'guitar'),
)
_LIKE = ('beautiful', 'old', 'wooden', 'red', 'small', 'modern', 'young', 'white', 'colorful')
_FORMS = (
    'a {0} {1} and a {2} {3} in front of the {4} on a sunny day',
    'how to paint a {0} {1} near the {2} {4} - step by step ideas for your {3}',
)


def photo_like_image(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """An image (height, width, 3), uint8, whose spectrum falls with frequency as photos' do."""
    rows = np.fft.fftfreq(height)[:, None, None]
    columns = np.fft.rfftfreq(width)[None, :, None]
    fall = np.hypot(rows, columns) + 1 / max(height, width)
    # what the channels share is brightness; colour varies less
    noise = rng.standard_normal((height, width, 1)) + 0.2 * rng.standard_normal((height, width, 3))
    spectrum = np.fft.rfft2(noise, axes=(0, 1)) / fall**_FALL
    image = np.fft.irfft2(spectrum, s=(height, width), axes=(0, 1))
    image = 128 + 50 * image / image.std()
    return image.clip(0, 255).astype(np.uint8)


def photo_like_samples(count: int, seed: int = 0) -> Iterator[ShardSample]:
    """Pairs of an image of 256 to 512 pixels a side and a caption of about 15 words."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        height, width = (int(side) for side in rng.integers(256, 513, 2))
        data = cv2.imencode('.jpg', photo_like_image(rng, height, width))[1].tobytes()
        likes, things = rng.choice(_LIKE, 2), rng.choice(_THINGS, 3, replace=False)
        words = (likes[0], things[0], likes[1], things[1], things[2])
        yield ShardSample(data, 'jpg', str(rng.choice(_FORMS)).format(*words), '', width, height)


def write_photo_like_shards(folder: str | os.PathLike, count: int, seed: int = 0) -> str:
    """Write one shard of ``count`` pairs as img2dataset does; returns its path."""
    write_shard(Path(folder), 0, photo_like_samples(count, seed))
    return os.path.join(folder, '00000.tar')
