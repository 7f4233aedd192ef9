"""From what a user hands over (paths, folders, arrays) to what the network takes."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
from mmcv.transforms import Compose
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from code_mm.datasets.transforms import LoadCaptionImage
from code_mm.structures.unusable_sample import UnusableSample
from code_mm.weights.sources import URL

IMAGE_SUFFIXES = frozenset(
    ['.bmp', '.gif', '.jpeg', '.jpg', '.pbm', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp']
)
# What macOS and Windows leave in folders; '._a.jpg' beside a.jpg is no image.
_SYSTEM_FILES = ('.ds_store', 'thumbs.db', 'desktop.ini')
Source = str | Path | np.ndarray
# Wide enough for any panorama: a line of 1 x 20 000 pixels would become gigabytes.
_LONGEST = 64  # times the shorter side


class InputImage(NamedTuple):
    """One image to segment."""

    name: str  # what its result files are called, without suffix
    source: Source
    origin: Mapping | None = None  # of its results: source, sha256 and, of a video, frame

    @property
    def shown(self) -> str:
        """What messages call it."""
        if isinstance(self.source, np.ndarray):
            return f'array {self.name}'
        return printable(self.source)


class UnreadableImage(ValueError):
    """An input that is no image, or only a part of one."""


def list_images(inputs: Source | Sequence[Source]) -> list[InputImage]:
    """The images behind a path, an array, a folder, or a list of paths and arrays.

    Of a folder, files with the suffix of an image are taken (not those of its subfolders), in
    alphabetical order; the log says what was left out. Whether a file can be read is seen when its
    turn comes.

    Returns:
        list[InputImage]: Named by file stem, with its suffix where two files share a stem, with
        folders where two share that; arrays by their number. One file has one name.

    Raises:
        ValueError: There is no image at all.
        TypeError: Something is neither path nor array.
    """
    listed = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    for source in listed:
        if not isinstance(source, (str, Path, np.ndarray)):
            raise TypeError(
                f'expected a path, a folder, an array (H, W, 3) or a list of paths and arrays, but '
                f'got {type(source).__name__}'
            )
    if not is_single(inputs) and not isinstance(inputs, (list, tuple)):
        listed = _of_folder(Path(inputs))
    if not listed:
        raise ValueError('expected at least one image, but got an empty list')
    return _with_names(listed)


def is_single(inputs: Source | Sequence[Source]) -> bool:
    """Whether one image was handed over, rather than a list or a folder."""
    several = isinstance(inputs, (list, tuple))
    return isinstance(inputs, np.ndarray) or not (several or Path(inputs).is_dir())


class ImagePipeline:
    """A config's test pipeline, with users' images in place of a data set's files.

    Files: grey and 16-bit images are converted (the upper 8 of 16 bits), an alpha channel is
    dropped, the EXIF orientation is applied, of several pages the first is taken. Arrays: BGR as
    OpenCV reads them, also grey or with alpha, uint8 or uint16; floating-point arrays are taken as
    they are, in 0 .. 255.

    Args:
        cfg (Config | ConfigDict): With ``test_pipeline``, or one in ``test_dataloader``.
            Annotations are not loaded.
        shorter_side (int, optional): Resize to this many pixels instead of as the config says.

    Raises:
        ValueError: There is no such pipeline, or it does not begin with ``LoadImageFromFile``.
    """

    def __init__(self, cfg: Config | ConfigDict, shorter_side: int | None = None) -> None:
        dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
        steps = cfg.get('test_pipeline') or dataset.get('pipeline')
        if not steps:
            raise ValueError(
                'expected a test_pipeline in the config, but got none; use an evaluation config '
                '(configs/eval)'
            )
        steps = [step for step in steps if 'Annotation' not in step['type']]
        # mmseg's inference functions put loaders of their own in its place
        if not steps or 'Load' not in steps[0]['type']:
            raise ValueError(
                'expected a test pipeline that begins with LoadImageFromFile, but got '
                f'{[step["type"] for step in steps]}'
            )
        loader, *steps = steps
        if shorter_side is not None:
            if shorter_side < 1:
                raise ValueError(f'expected shorter_side >= 1 pixel, but got {shorter_side}')
            scale = (_LONGEST * shorter_side, shorter_side)
            resize = dict(type='Resize', scale=scale, keep_ratio=True)
            steps = [resize, *(step for step in steps if 'Resize' not in step['type'])]
        backend = loader.get('imdecode_backend', 'cv2')
        # a user's own image may be as large as OpenCV takes
        self._decode = LoadCaptionImage(1, backend, max_pixels=None)
        self.steps, self.shorter_side = steps, shorter_side
        self._transforms = Compose([dict(step) for step in steps])

    def read(self, source: Source) -> np.ndarray:
        """Image (H, W, 3), BGR, uint8 or float32; raises UnreadableImage where there is none."""
        if isinstance(source, np.ndarray):
            return _checked_array(source)
        with _open_file(source) as stream:
            content = stream.read()
        try:
            return self._decode(dict(img_bytes=content))['img']
        except UnusableSample as unusable:
            raise UnreadableImage(str(unusable)) from unusable

    def batches(
        self, images: Iterable[InputImage], batch_size: int, on_error: str, failed: dict[str, str]
    ) -> Iterator[list[dict]]:
        """Read images when their turn comes, and put neighbours of one size together.

        Where an image cannot be read, ``on_error`` 'raise' raises an UnreadableImage, and 'skip'
        puts the reason into ``failed``.

        Yields:
            list[dict]: ``inputs`` and ``data_samples`` for the network, the ``input`` that was
            read, and its ``image`` (H, W, 3) uint8 BGR.
        """
        batch: list[dict] = []
        for one in images:
            try:
                item = self._item(one)
            except UnreadableImage as error:
                fail(one, error, on_error, failed)
                continue
            full = len(batch) == batch_size
            if full or (batch and batch[0]['image'].shape != item['image'].shape):
                yield batch
                batch = []
            batch.append(item)
        if batch:
            yield batch

    def _item(self, one: InputImage) -> dict:
        image = self.read(one.source)
        path = None if isinstance(one.source, np.ndarray) else str(one.source)
        height, width = image.shape[:2]
        shapes = dict(img_shape=(height, width), ori_shape=(height, width))
        try:
            item = self._transforms(dict(img=image, img_path=path, **shapes))
        except (cv2.error, MemoryError) as error:
            reason = f'{width} x {height} pixels cannot be resized for the network; crop it'
            raise UnreadableImage(reason) from error
        return dict(item, input=one, image=np.clip(image, 0, 255).round().astype(np.uint8))


def fail(one: InputImage, error: UnreadableImage, on_error: str, failed: dict[str, str]) -> None:
    """Raise why an image could not be segmented, or keep it and go on, see ``batches``."""
    if on_error == 'raise':
        raise UnreadableImage(f'{one.shown}: {error}') from error
    failed[one.shown] = str(error)
    message = f'skipped ({len(failed)} so far) {one.shown}: {error}'
    print_log(message, logger='current', level=logging.WARNING)


def _checked_array(array: np.ndarray) -> np.ndarray:
    image = array[..., None] if array.ndim == 2 else array
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or not image.size:
        raise UnreadableImage(f'expected an array (H, W, 3) in BGR, but got shape {array.shape}')
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    elif image.dtype != np.uint8:
        if not np.issubdtype(image.dtype, np.floating):
            raise UnreadableImage(f'expected uint8, uint16 or floats, but got {image.dtype}')
        if not np.isfinite(image).all():
            raise UnreadableImage('expected finite values, but got NaN or infinity')
        if 0 < image.max() <= 1:
            raise UnreadableImage('expected values in 0 .. 255, but got 0 .. 1; multiply by 255')
        image = image.astype(np.float32)
    image = image.repeat(3, axis=2) if image.shape[2] == 1 else image[..., :3]
    return np.ascontiguousarray(image)


def _of_folder(folder: Path) -> list[Path]:
    images, others = [], []
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        if is_system_file(path):
            continue
        (images if path.suffix.lower() in IMAGE_SUFFIXES else others).append(path)
    if not images:
        raise ValueError(
            f'expected images in {folder}, but it has none ({len(others)} other files); images end '
            f'in {" ".join(sorted(IMAGE_SUFFIXES))}'
        )
    if others:
        print_log(
            f'{folder}: {len(others)} files without the suffix of an image are left out: '
            f'{[path.name for path in others[:5]]}',
            logger='current',
            level=logging.WARNING,
        )
    return images


def is_system_file(path: Path) -> bool:
    """Whether a file is of the operating system, and nothing that a user put there."""
    return path.name.lower() in _SYSTEM_FILES or path.name.startswith('._')


def _with_names(sources: Sequence[Source]) -> list[InputImage]:
    paths = [None if isinstance(s, np.ndarray) else os.path.abspath(s) for s in sources]
    stems = Counter(Path(path).stem for path in {*paths} - {None})
    images, owners = [], {}
    for number, (source, path) in enumerate(zip(sources, paths, strict=True)):
        if path is None:
            names = [f'{number:08d}', f'array_{number:08d}']
        else:
            names = result_names(path)[stems[Path(path).stem] > 1 :]
        owner = number if path is None else path
        names.append(f'{number:08d}_{names[0]}')
        name = next(name for name in names if owners.setdefault(name, owner) == owner)
        images.append(InputImage(name, source))
    return images


def result_names(path: str | Path) -> list[str]:
    """A file's stem, its name with the suffix (``a_png``), then with its folders one by one."""
    path = Path(os.path.abspath(path))
    parts = [*path.parts[1:-1], path.name.replace('.', '_')]
    return [path.stem, *('/'.join(parts[-n:]) for n in range(1, len(parts) + 1))]


def origin_of(source: Source) -> dict:
    """Where an image or a video is from, and the checksum of its content.

    Raises:
        UnreadableImage: There is no such file, or none that can be read.
    """
    if isinstance(source, np.ndarray):
        told = f'{source.dtype} {source.shape}'.encode()
        content = told + np.ascontiguousarray(source).tobytes()
        return dict(source=None, sha256=hashlib.sha256(content).hexdigest())
    digest = hashlib.sha256()
    with _open_file(source) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return dict(source=printable(os.path.abspath(source)), sha256=digest.hexdigest())


@contextlib.contextmanager
def _open_file(path: str | Path) -> Iterator[BinaryIO]:
    """Open a regular file, and only such: a pipe or a device may never end."""
    if URL.match(str(path)):
        raise UnreadableImage(f'expected a local file, but got the URL {str(path)!r}; download it')
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UnreadableImage('expected a file; hand a folder over alone, not in a list')
        with open(path, 'rb') as stream:
            yield stream
    except (OSError, ValueError) as error:
        raise UnreadableImage(str(error)) from error


def printable(path: str | Path) -> str:
    """A path as text for messages, with what is no UTF-8 in it escaped."""
    return str(path).encode('utf-8', 'backslashreplace').decode()
