"""Small tar shards and images, made on the spot."""

import io
import json
import tarfile

import cv2
import numpy as np
import pytest


def encode_image(seed=0, height=40, width=56, suffix='.jpg'):
    """A smooth picture, different for each seed, as the bytes of an image file."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    rng = np.random.default_rng(seed)
    waves = [np.sin(rows * a + columns * b + c) for a, b, c in rng.uniform(0, 0.2, (3, 3))]
    image = ((np.stack(waves, -1) + 1) * 127).astype(np.uint8)
    return cv2.imencode(suffix, image)[1].tobytes()


@pytest.fixture(scope='session')
def image_bytes():
    return encode_image


@pytest.fixture
def write_tar(tmp_path):
    """Writes a tar file of ``[(name, bytes), …]`` or ``{name: bytes}``; returns its path."""

    def write(name, members, folder=tmp_path):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, 'w') as tar:
            for member, data in dict(members).items() if isinstance(members, dict) else members:
                info = tarfile.TarInfo(member)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return str(path)

    return write


@pytest.fixture
def write_pairs(write_tar):
    """Writes a shard of good pairs as img2dataset does; returns its path."""

    def write(name, captions, first=0, **kwargs):
        members = []
        for number, caption in enumerate(captions, start=first):
            key = f'{number:07d}'
            fields = json.dumps(dict(key=key, caption=caption.upper(), width=56))
            members += [
                (f'{key}.jpg', encode_image(number)),
                (f'{key}.json', fields.encode()),
                (f'{key}.txt', caption.encode()),
            ]
        return write_tar(name, members, **kwargs)

    return write
