"""Images and class names in, label maps out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer
from rich.progress import track

from .input_images import Source, UnreadableImage, is_single, list_images
from .result_files import ResultFolders
from .segmentation import Segmentation
from .stream_inferencer import StreamInferencer

_OF_QUERY = {'classes', 'background', 'background_threshold'}


class CoDeInferencer(StreamInferencer):
    """Segments photos into classes that are named in words (thesis Fig. 4.4).

    Follows mmseg's ``MMSegInferencer``. Class names can change with every call: the model is not
    built again, and names that were asked for before are not embedded again.

    Args:
        model (str | Path | Config | nn.Module): Config with a ``ZeroShotSegmentor`` or
            ``CoDeSegmentor`` and a ``test_pipeline``, or such a model from mmseg's ``init_model``.
        weights (str | Path, optional): Checkpoint. Default: what the config's ``init_cfg`` names.
        device (str, optional): Default: the accelerator where there is one.
        classes (str | Sequence[str], optional): ``'cat, grey sofa'`` or a list of such phrases;
            ``'car|automobile'`` gives synonyms. Default: the names that the config has.
        palette (Sequence, optional): RGB colours of the classes, the background's not among them.
            Default: distinct colours.
        background (bool, optional): Pixels that fit no class become label 0, 'background'.
            Default: as the config has it; on where a threshold is given.
        background_threshold (float, optional): Score in (0, 1) that a class must reach. Default:
            the config's, or 0.4.
        shorter_side (int, optional): Resize images to this many pixels on their shorter side for
            the network, instead of what the config says.
        show_progress (bool): Show a progress bar.

    Raises:
        TypeError: The model takes no class names.
        ValueError: Weights that do not fit; classes that cannot be looked for.
    """

    visualize_kwargs = {'return_vis', 'show', 'wait_time', 'opacity'}
    postprocess_kwargs = {'return_scores', 'return_masks'}

    def __call__(
        self,
        inputs: Source | Sequence[Source],
        return_datasamples: bool = False,
        batch_size: int = 1,
        out_dir: str | Path = '',
        img_out_dir: str = 'vis',
        pred_out_dir: str = 'pred',
        json_out_dir: str = '',
        **kwargs,
    ) -> dict | SegDataSample | list[SegDataSample]:
        """Segment images.

        Args:
            inputs: Path, folder, array (BGR, as OpenCV reads images), or list of paths and arrays.
            return_datasamples (bool): Return mmseg's samples, with ``seg_logits``.
            batch_size (int): Images at a time, where neighbours in the list have one size.
            out_dir (str | Path): Folder for results; nothing is written without it.
            img_out_dir (str): Its subfolder for overlays with legend; '' for none.
            pred_out_dir (str): Its subfolder for label maps (PNG with palette); '' for none.
            json_out_dir (str): Its subfolder for masks in COCO's RLE; '' for none.
            **kwargs: ``classes``, ``background``, ``background_threshold``: for this call;
                ``on_error``: 'skip' (default; warned of, and in ``failed``) or 'raise' where an
                image cannot be read, raised in any case where none can; ``return_vis``,
                ``return_scores``, ``return_masks``: more in the result; ``show``, ``wait_time``
                (s), ``opacity``: of overlays.

        Returns:
            dict: ``predictions`` (H, W) int32; ``classes``, names in label order; ``inputs``, what
            was segmented; ``failed``, why not, by input; ``visualization``, overlays in RGB;
            ``scores`` (classes, H, W) in [0, 1]; ``masks``, (H, W) bool by class name. Of a list
            or folder they are lists, of a single image its own.
        """
        images, failed = list_images(inputs), {}
        asked = {k: kwargs.pop(k) for k in _OF_QUERY & kwargs.keys()}
        query, on_error = self.query(**asked), kwargs.pop('on_error', 'skip')
        _, _, drawing, packing = self._dispatch_kwargs(**kwargs)
        folders = ResultFolders(out_dir, img_out_dir, pred_out_dir, json_out_dir)
        keep_scores = return_datasamples or packing.get('return_scores', False)
        results = self.segment(images, query, batch_size, on_error, failed, keep_scores)
        if self.show_progress:
            results = track(results, description='Inference', total=len(images))
        packing['return_datasamples'] = return_datasamples
        parts = [self._finish(result, folders, drawing, packing) for result in results]
        if not parts:
            raise UnreadableImage(f'expected an image, but none could be read: {failed}')
        return _merge(parts, is_single(inputs), dict(classes=query.names, failed=failed))

    def visualize(
        self,
        inputs: list[Segmentation],
        preds: None = None,
        show: bool = False,
        draw: bool = False,
        return_vis: bool = False,
        wait_time: float = 0,
        opacity: float = 0.6,
    ) -> list[np.ndarray]:
        """Overlays with legend, RGB; none where nobody wants them."""
        wanted = inputs if show or draw or return_vis else []
        overlays = [result.overlay(opacity) for result in wanted]
        if show:
            self.visualizer = self.visualizer or SegLocalVisualizer()
            for result, overlay in zip(wanted, overlays, strict=True):
                self.visualizer.show(overlay, win_name=result.input.shown, wait_time=wait_time)
        return overlays

    def postprocess(
        self,
        preds: list[Segmentation],
        visualization: list[np.ndarray],
        return_datasamples: bool = False,
        return_scores: bool = False,
        return_masks: bool = False,
    ) -> dict | SegDataSample:
        """What :meth:`__call__` returns of one image."""
        (result,) = preds
        if return_datasamples:
            return result.sample
        packed = dict(predictions=result.labels, inputs=result.input.shown)
        packed['visualization'] = visualization[0] if visualization else None
        if return_scores:
            packed['scores'] = result.scores
        if return_masks:
            packed['masks'] = result.masks
        return packed

    def _finish(
        self, result: Segmentation, folders: ResultFolders, drawing: dict, packing: dict
    ) -> dict | SegDataSample:
        pictures = self.visualize([result], draw=folders.draws, **drawing)
        folders.write(result, pictures[0] if pictures else None)
        return self.postprocess([result], pictures if drawing.get('return_vis') else [], **packing)


def _merge(parts: list, single: bool, more: dict) -> dict | SegDataSample | list[SegDataSample]:
    if not isinstance(parts[0], dict):
        return parts[0] if single else parts
    merged = {k: parts[0][k] if single else [part[k] for part in parts] for k in parts[0]}
    return dict(merged, **more)
