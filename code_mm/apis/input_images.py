"""From what a user hands over (paths, folders, arrays) to what the network takes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmcv.transforms import Compose
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from code_mm.datasets.transforms import LoadCaptionImage
from code_mm.structures.unusable_sample import UnusableSample
from code_mm.weights.files import URL

IMAGE_SUFFIXES = frozenset(
    ['.bmp', '.gif', '.jpeg', '.jpg', '.pbm', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp']
)
Source = str | Path | np.ndarray
# mmseg's inference functions put the others in place of the first.
_LOADERS = ('LoadImageFromFile', 'LoadImageFromNDArray', 'InferencerLoader')
# Wide enough for any panorama: the shorter side alone decides.
_NO_LIMIT = 1_000_000


class InputImage(NamedTuple):
    """One image to segment."""

    name: str
    """What its result files are called, without suffix."""
    source: Source

    @property
    def shown(self) -> str:
        """What messages call it."""
        return f'array {self.name}' if isinstance(self.source, np.ndarray) else str(self.source)


class UnreadableImage(ValueError):
    """An input that is no image, or only a part of one."""


def list_images(inputs: Source | Sequence[Source]) -> list[InputImage]:
    """The images behind a path, an array, a folder, or a list of paths and arrays.

    Of a folder, files with the suffix of an image are taken (not those of its subfolders), in
    alphabetical order; the log says what was left out.

    Args:
        inputs: See above. Whether a file can be read is seen when its turn comes.

    Returns:
        list[InputImage]: Named by file stem (by the whole file name where two share a stem), arrays
        by their number.

    Raises:
        ValueError: There is no image at all, or an URL.
        TypeError: Something is neither path nor array.
    """
    listed = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    for source in listed:
        if not isinstance(source, (str, Path, np.ndarray)):
            raise TypeError(
                f'expected a path, a folder, an array (H, W, 3) or a list of paths and arrays, but '
                f'got {type(source).__name__}'
            )
        if isinstance(source, str) and URL.match(source):
            raise ValueError(f'expected a local file, but got the URL {source!r}; download it')
    if not isinstance(inputs, (list, tuple, np.ndarray)) and Path(inputs).is_dir():
        listed = _of_folder(Path(inputs))
    if not listed:
        raise ValueError('expected at least one image, but got an empty list')
    return _with_names(listed)


def is_single(inputs: Source | Sequence[Source]) -> bool:
    """Whether one image was handed over, rather than a list or a folder."""
    if isinstance(inputs, (list, tuple)):
        return False
    return isinstance(inputs, np.ndarray) or not Path(inputs).is_dir()


class ImagePipeline:
    """A config's test pipeline, with users' images in place of a data set's files.

    Files: grey and 16-bit images are converted (the upper 8 of 16 bits), an alpha channel is
    dropped, the EXIF orientation is applied, of several pages the first is taken. Arrays: BGR as
    OpenCV reads them, also grey or with alpha, uint8 or uint16; floating-point arrays are taken as
    they are, in 0 .. 255.

    Args:
        cfg (Config | ConfigDict): With ``test_pipeline``, or one in ``test_dataloader`` or
            ``val_dataloader``. Annotations are not loaded.
        shorter_side (int, optional): Resize to this many pixels instead of as the config says.

    Raises:
        ValueError: There is no such pipeline, or it does not begin with ``LoadImageFromFile``.
    """

    def __init__(self, cfg: Config | ConfigDict, shorter_side: int | None = None) -> None:
        steps = [step for step in _test_pipeline(cfg) if 'Annotation' not in step['type']]
        if not steps or steps[0]['type'].rpartition('.')[-1] not in _LOADERS:
            raise ValueError(
                f'expected a test pipeline that begins with {_LOADERS[0]}, but got '
                f'{[step["type"] for step in steps]}'
            )
        loader, *steps = steps
        if shorter_side is not None:
            if shorter_side < 1:
                raise ValueError(f'expected shorter_side >= 1 pixel, but got {shorter_side}')
            resize = dict(type='Resize', scale=(_NO_LIMIT, shorter_side), keep_ratio=True)
            steps = [resize, *(step for step in steps if 'Resize' not in step['type'])]
        keys = {k: loader[k] for k in ('imdecode_backend', 'backend_args') if loader.get(k)}
        # a user's own image may be as large as OpenCV takes
        self._decode = LoadCaptionImage(min_size=1, max_pixels=None, **keys)
        self._transforms = Compose([dict(step) for step in steps])

    def read(self, source: Source) -> np.ndarray:
        """Image (H, W, 3), BGR, uint8 or float32; raises UnreadableImage where there is none."""
        if isinstance(source, np.ndarray):
            return _checked_array(source)
        if Path(source).is_dir():
            raise UnreadableImage('a folder; hand a folder over alone, not in a list')
        try:
            return self._decode(dict(img_path=str(source)))['img']
        except UnusableSample as unusable:
            raise UnreadableImage(str(unusable)) from unusable

    def pack(self, image: np.ndarray, source: Source) -> dict:
        """``inputs`` and ``data_samples`` for the network, of an image that was read."""
        path = None if isinstance(source, np.ndarray) else str(source)
        shape = image.shape[:2]
        return self._transforms(dict(img=image, img_path=path, img_shape=shape, ori_shape=shape))

    def batches(
        self, images: Iterable[InputImage], batch_size: int, on_error: str, failed: dict[str, str]
    ) -> Iterator[list[dict]]:
        """Read images and put neighbours of one size together.

        Args:
            images (Iterable[InputImage]): Read when their turn comes.
            batch_size (int): Images of a batch, at most.
            on_error (str): 'skip' or 'raise' where an image cannot be read.
            failed (dict[str, str]): Takes up why an image was skipped.

        Yields:
            list[dict]: ``inputs`` and ``data_samples`` for the network, the ``input`` that was
            read, and its ``image`` (H, W, 3) uint8 BGR.

        Raises:
            UnreadableImage: An image cannot be read and ``on_error`` is 'raise'.
        """
        batch: list[dict] = []
        for one in images:
            try:
                image = self.read(one.source)
            except UnreadableImage as error:
                if on_error == 'raise':
                    raise UnreadableImage(f'{one.shown}: {error}') from error
                failed[one.shown] = str(error)
                message = f'skipped ({len(failed)} so far) {one.shown}: {error}'
                print_log(message, logger='current', level=logging.WARNING)
                continue
            item = dict(input=one, **self.pack(image, one.source))
            item['image'] = np.clip(image, 0, 255).round().astype(np.uint8)
            same = batch and batch[0]['image'].shape == item['image'].shape
            if batch and (len(batch) == batch_size or not same):
                yield batch
                batch = []
            batch.append(item)
        if batch:
            yield batch


def _test_pipeline(cfg: Config | ConfigDict) -> list:
    if cfg.get('test_pipeline'):
        return cfg.test_pipeline
    for name in ('test_dataloader', 'val_dataloader'):
        dataset = (cfg.get(name) or {}).get('dataset') or {}
        if dataset.get('pipeline'):
            return dataset.pipeline
    raise ValueError(
        'expected a test_pipeline in the config, but got none; use an evaluation config '
        '(configs/eval)'
    )


def _checked_array(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        raise UnreadableImage(f'expected an array (H, W, 3) in BGR, but got shape {array.shape}')
    array = np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array[..., :3]
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise UnreadableImage(f'expected uint8, uint16 or floating point, but got {array.dtype}')
    if not np.isfinite(array).all():
        raise UnreadableImage('expected finite values, but got NaN or infinity')
    if 0 < array.max() <= 1:
        raise UnreadableImage('expected values in 0 .. 255, but got 0 .. 1; multiply by 255')
    return np.ascontiguousarray(array, dtype=np.float32)


def _of_folder(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    others = [path.name for path in files if path not in images]
    if not images:
        raise ValueError(
            f'expected images in {folder}, but it has none ({len(files)} other files); images end '
            f'in {" ".join(sorted(IMAGE_SUFFIXES))}'
        )
    if others:
        print_log(
            f'{folder}: {len(others)} files without the suffix of an image are left out: '
            f'{others[:5]}',
            logger='current',
            level=logging.WARNING,
        )
    return images


def _with_names(sources: Iterable[Source]) -> list[InputImage]:
    sources = list(sources)
    paths = [Path(s) for s in sources if not isinstance(s, np.ndarray)]
    stems = [path.stem for path in paths]
    names = []
    for number, source in enumerate(sources):
        if isinstance(source, np.ndarray):
            names.append(f'{number:08d}')
            continue
        path = Path(source)
        name = path.stem if stems.count(path.stem) == 1 else path.name
        names.append(name if name not in names else f'{number:08d}_{name}')
    return [InputImage(name, source) for name, source in zip(names, sources, strict=True)]
