"""Images and class names in, label maps out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import cv2
import torch
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer
from rich.progress import track

from code_mm.weights import weights_sha256

from .class_query import ClassQuery, make_query
from .input_images import (
    ImagePipeline,
    InputImage,
    Source,
    UnreadableImage,
    fail,
    is_single,
    list_images,
)
from .load_model import load_config, load_zero_shot_model
from .results import ResultFolders, Segmentation, checksum


class CoDeInferencer:
    """Segments photos into classes that are named in words (thesis Fig. 4.4).

    Follows mmseg's ``MMSegInferencer``. Class names can change with every call: the model is not
    built again, and names are embedded where they changed only.

    Args:
        model (str | Path | Config, optional): With a ``ZeroShotSegmentor`` or ``CoDeSegmentor``
            and a ``test_pipeline``. Default: the one for photographs (projects/photos).
        weights (str | Path, optional): Checkpoint. Default: what the config's ``init_cfg`` names.
        device (str, optional): Default: the accelerator where there is one.
        classes (str | Sequence[str], optional): Default: the config's. For these, background and
            threshold see :func:`~.class_query.make_query`.
        background (bool, optional): Whether pixels that fit no class become label 0.
        background_threshold (float, optional): Score in (0, 1) that a class must reach.
        shorter_side (int, optional): Resize images to this many pixels on their shorter side for
            the network, instead of what the config says.
        show_progress (bool): Show a progress bar.

    Raises:
        ModuleNotFoundError: What the default model needs is not installed.
        TypeError: The model takes no class names.
        ValueError: Weights that do not fit; classes that cannot be looked for.
    """

    def __init__(
        self,
        model: str | Path | dict | None = None,
        weights: str | Path | None = None,
        device: str | None = None,
        classes: str | Sequence[str] | None = None,
        *,
        background: bool | None = None,
        background_threshold: float | None = None,
        shorter_side: int | None = None,
        show_progress: bool = True,
    ) -> None:
        self.model = load_zero_shot_model(load_config(model), weights, device or get_device())
        self.pipeline = ImagePipeline(self.model.cfg, shorter_side)
        self.show_progress = show_progress
        self._config = checksum([self.model.cfg.model, self.pipeline.steps])
        self._configured = self.model.class_names, self.model.background_threshold
        self._asked = classes, background, background_threshold
        if classes is not None:
            self.query()  # mistakes are named at once

    def __call__(
        self,
        inputs: Source | Sequence[Source],
        return_datasamples: bool = False,
        batch_size: int = 1,
        out_dir: str | Path = '',
        img_out_dir: str = 'vis',
        pred_out_dir: str = 'pred',
        json_out_dir: str = '',
        *,
        classes: str | Sequence[str] | None = None,
        background: bool | None = None,
        background_threshold: float | None = None,
        on_error: str = 'skip',
        return_vis: bool = False,
        return_scores: bool = False,
        return_masks: bool = False,
        show: bool = False,
        wait_time: float = 0,
        opacity: float = 0.6,
    ) -> dict | SegDataSample | list[SegDataSample]:
        """Segment images.

        ``inputs`` are a path, a folder, an array (BGR, as OpenCV reads images), or a list of paths
        and arrays. The other arguments are those of ``MMSegInferencer`` (a batch has neighbours of
        one size; nothing is written without ``out_dir``; a subfolder '' is none), and:
        ``classes``, ``background`` and ``background_threshold`` for this call; ``json_out_dir``,
        subfolder for masks in COCO's RLE; ``on_error``, 'skip' (warned of, and in ``failed``) or
        'raise' where an image cannot be read, raised in any case where none can.

        Returns:
            dict: ``predictions`` (H, W) int32; ``classes``, names in label order; ``inputs``, what
            was segmented; ``failed``, why not, by input; ``visualization``, overlays in RGB;
            ``scores`` (classes, H, W) in [0, 1]; ``masks``, (H, W) bool by class name. Of a list
            or folder they are lists, of a single image its own. With ``return_datasamples``
            mmseg's samples, with ``seg_logits``.
        """
        images, failed = list_images(inputs), {}
        query = self.query(classes, background, background_threshold)
        settings = dict(self.settings(query), opacity=opacity) if out_dir else None
        kinds = (img_out_dir, pred_out_dir, json_out_dir)
        folders = ResultFolders(out_dir, *kinds, settings=settings)
        images = [folders.place(image) for image in images]
        keep_scores = return_datasamples or return_scores
        results = self.segment(images, query, batch_size, on_error, failed, keep_scores)
        if self.show_progress:
            results = track(results, description='Inference', total=len(images))
        drawn = return_vis or show or (out_dir and img_out_dir)
        parts, window = [], SegLocalVisualizer() if show else None
        for result in results:
            overlay = result.overlay(opacity) if drawn else None
            if show:
                window.show(overlay, win_name=result.input.shown, wait_time=wait_time)
            folders.write(result, overlay)
            if return_datasamples:
                parts.append(result.sample)
                continue
            part = dict(predictions=result.labels, inputs=result.input.shown)
            part['visualization'] = overlay if return_vis else None
            if return_scores:
                part['scores'] = result.scores
            if return_masks:
                part['masks'] = result.masks
            parts.append(part)
        if not parts:
            raise UnreadableImage(f'expected an image, but none could be read: {failed}')
        found = parts[0] if is_single(inputs) else parts
        if return_datasamples:
            return found
        if found is parts:
            found = {key: [part[key] for part in parts] for key in parts[0]}
        return dict(found, classes=query.names, failed=failed)

    def query(
        self,
        classes: str | Sequence[str] | None = None,
        background: bool | None = None,
        background_threshold: float | None = None,
    ) -> ClassQuery:
        """What to look for: these arguments, else the constructor's, else the config's."""
        own_classes, *own_background = self._asked
        names, threshold = self._configured
        if background is None and background_threshold is None:
            background, background_threshold = own_background
        classes = next((given for given in (classes, own_classes) if given is not None), names)
        query = make_query(classes, background, background_threshold, threshold)
        query.ask(self.model)
        return query

    def settings(self, query: ClassQuery) -> dict:
        """All that label maps depend on beside the image: plain values, and checksums."""
        return dict(
            classes=list(query.names),
            background_threshold=query.background_threshold,
            shorter_side=self.pipeline.shorter_side,
            config=self._config,
            weights=self._weights,
        )

    @cached_property
    def _weights(self) -> str:
        return weights_sha256(self.model)

    def segment(
        self,
        images: Iterable[InputImage],
        query: ClassQuery,
        batch_size: int = 1,
        on_error: str = 'skip',
        failed: dict[str, str] | None = None,
        keep_scores: bool = False,
    ) -> Iterator[Segmentation]:
        """Segment any number of images one after the other: large folders, videos.

        Images are read when their turn comes; ``failed`` takes up why some were skipped. Without
        ``keep_scores`` memory does not grow with the number of classes.
        """
        if batch_size < 1:
            raise ValueError(f'expected batch_size >= 1, but got {batch_size}')
        if on_error not in ('skip', 'raise'):
            raise ValueError(f"expected on_error 'skip' or 'raise', but got {on_error!r}")
        failed = {} if failed is None else failed
        for items in self.pipeline.batches(images, batch_size, on_error, failed):
            query.ask(self.model)
            for item, sample in self._samples(items, keep_scores, on_error, failed):
                image = cv2.cvtColor(item['image'], cv2.COLOR_BGR2RGB)
                yield Segmentation(item['input'], image, sample, query)

    def _samples(
        self, items: list[dict], keep_scores: bool, on_error: str, failed: dict[str, str]
    ) -> Iterator[tuple[dict, SegDataSample]]:
        """Predict a batch, image by image where the memory is too small for all of them."""
        try:
            yield from zip(items, self._predict(items, keep_scores), strict=True)
            return
        except (MemoryError, RuntimeError) as error:
            # torch's has no type of its own on a CPU
            told = ('out of memory', 'allocate memory', 'not enough memory')
            if not isinstance(error, MemoryError) and not any(t in str(error) for t in told):
                raise
        if len(items) > 1:
            for item in items:
                yield from self._samples([item], keep_scores, on_error, failed)
            return
        height, width = items[0]['image'].shape[:2]
        reason = UnreadableImage(
            f'{width} x {height} pixels need more memory than there is; have it resized '
            "(shorter_side), or looked at in windows (model.test_cfg.mode='slide')"
        )
        fail(items[0]['input'], reason, on_error, failed)

    @torch.no_grad()
    def _predict(self, items: list[dict], keep_scores: bool) -> list[SegDataSample]:
        """One batch; results are on the CPU."""
        packed = [{key: item[key] for key in ('inputs', 'data_samples')} for item in items]
        settings = self.model.test_cfg
        before = settings.get('keep_scores', True)
        settings['keep_scores'] = keep_scores
        try:
            return [sample.cpu() for sample in self.model.test_step(pseudo_collate(packed))]
        finally:
            settings['keep_scores'] = before
