"""Images from anywhere, one after the other, through a model that takes class names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import torch
from mmengine.dataset import pseudo_collate
from mmengine.infer import BaseInferencer
from mmseg.structures import SegDataSample
from torch import nn

from code_mm.visualization.lettering import Colour

from .class_query import ClassQuery, make_query
from .image_pipeline import ImagePipeline
from .input_images import InputImage
from .load_model import check_type, load_config, load_zero_shot_model
from .segmentation import Segmentation


class StreamInferencer(BaseInferencer):
    """mmengine's ``BaseInferencer`` for zero-shot models, without end and in bounded memory.

    Arguments are those of :class:`CoDeInferencer`, which adds result dicts and files.
    """

    forward_kwargs = {'keep_scores'}

    def __init__(
        self,
        model: str | Path | dict | nn.Module,
        weights: str | Path | None = None,
        device: str | None = None,
        classes: str | Sequence[str] | None = None,
        *,
        palette: Sequence[Colour] | None = None,
        background: bool | None = None,
        background_threshold: float | None = None,
        shorter_side: int | None = None,
        show_progress: bool = True,
    ) -> None:
        self._built, self._shorter_side = None, shorter_side
        if isinstance(model, nn.Module):
            check_type(model)
            if getattr(model, 'cfg', None) is None or weights is not None:
                raise ValueError(
                    'expected a model with its weights loaded and its config in model.cfg, as '
                    'mmseg.apis.init_model gives it; or hand over config and weights'
                )
            self._built = model
            device = device or str(next(model.parameters()).device)
        cfg = load_config(model) if self._built is None else model.cfg
        super().__init__(cfg, None if weights is None else str(weights), device, 'mmseg')
        self.show_progress = show_progress
        head = self.model.decode_head
        self._configured = (head.class_names, head.background_threshold)
        self._asked, self._palette = (classes, background, background_threshold), palette
        if classes is not None:
            self.query()  # mistakes are named at once

    def query(
        self,
        classes: str | Sequence[str] | None = None,
        background: bool | None = None,
        background_threshold: float | None = None,
    ) -> ClassQuery:
        """What to look for: these arguments, else the constructor's, else the config's.

        Raises:
            ValueError: No or contradictory names, or a phrase longer than the text context.
        """
        own_classes, *own_background = self._asked
        classes = own_classes if classes is None else classes
        if background is None and background_threshold is None:
            background, background_threshold = own_background
        names, threshold = self._configured
        classes = names if classes is None else classes
        query = make_query(classes, background, background_threshold, threshold)
        query.put_to(self.model)
        return query

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

        Args:
            images (Iterable[InputImage]): Read only when their turn comes.
            query (ClassQuery): See :meth:`query`.
            batch_size (int): See :meth:`__call__`.
            on_error (str): See :meth:`__call__`.
            failed (dict, optional): Takes up why images were skipped.
            keep_scores (bool): Without scores memory does not grow with the number of classes.

        Yields:
            Segmentation: In the order of the images.
        """
        if batch_size < 1:
            raise ValueError(f'expected batch_size >= 1, but got {batch_size}')
        if on_error not in ('skip', 'raise'):
            raise ValueError(f"expected on_error 'skip' or 'raise', but got {on_error!r}")
        failed, palette = {} if failed is None else failed, query.colours(self._palette)
        for items in self.pipeline.batches(images, batch_size, on_error, failed):
            query.put_to(self.model)
            packed = [{key: item[key] for key in ('inputs', 'data_samples')} for item in items]
            samples = self.forward(self.collate_fn(packed), keep_scores=keep_scores)
            for item, sample in zip(items, samples, strict=True):
                image = cv2.cvtColor(item['image'], cv2.COLOR_BGR2RGB)
                names, threshold = query.names, query.background_threshold
                yield Segmentation(item['input'], image, sample, names, palette, threshold)

    @torch.no_grad()
    def forward(self, inputs: dict, keep_scores: bool = True) -> list[SegDataSample]:
        """Predict one batch; results are on the CPU."""
        settings = self.model.test_cfg
        before = settings.get('keep_scores', True)
        settings['keep_scores'] = keep_scores
        try:
            return [sample.cpu() for sample in self.model.test_step(inputs)]
        finally:
            settings['keep_scores'] = before

    def _init_model(self, cfg, weights: str | None, device: str = 'cpu') -> nn.Module:
        if self._built is not None:
            return self._built.to(device).eval()
        return load_zero_shot_model(cfg, weights, device)

    def _init_pipeline(self, cfg) -> ImagePipeline:
        return ImagePipeline(cfg, self._shorter_side)

    def _init_collate(self, cfg) -> Callable:
        return pseudo_collate

    def _init_visualizer(self, cfg) -> None:
        """None yet; :meth:`visualize` opens a window where one is asked for."""
