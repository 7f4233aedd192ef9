"""A config's test pipeline, with users' images in place of a data set's files."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import numpy as np
from mmcv.transforms import Compose
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from .input_images import ImageReader, InputImage, Source, UnreadableImage

# mmseg's inference functions put the others in place of the first.
_LOADERS = ('LoadImageFromFile', 'LoadImageFromNDArray', 'InferencerLoader')
# Wide enough for any panorama: the shorter side alone decides.
_NO_LIMIT = 1_000_000


class ImagePipeline:
    """Reads an image and brings it into the form in which the network takes it.

    Args:
        cfg (Config | ConfigDict): With ``test_pipeline``, or one in ``test_dataloader`` or
            ``val_dataloader``. Annotations are not loaded.
        shorter_side (int, optional): Resize to this many pixels instead of as the config says.

    Raises:
        ValueError: There is no such pipeline, or it does not begin with ``LoadImageFromFile``.
    """

    def __init__(self, cfg: Config | ConfigDict, shorter_side: int | None = None) -> None:
        steps = [dict(step) for step in _test_pipeline(cfg)]
        steps = [step for step in steps if 'Annotation' not in step['type']]
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
        keys = ('imdecode_backend', 'backend_args')
        self.read = ImageReader(**{key: loader[key] for key in keys if loader.get(key)})
        self.transforms = Compose(steps)

    def __call__(self, source: Source) -> dict:
        """``inputs`` and ``data_samples`` for the network."""
        return self.pack(self.read(source), source)

    def pack(self, image: np.ndarray, source: Source) -> dict:
        """As calling it, of an image that was read."""
        path = None if isinstance(source, np.ndarray) else str(source)
        shape = image.shape[:2]
        return self.transforms(dict(img=image, img_path=path, img_shape=shape, ori_shape=shape))

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
