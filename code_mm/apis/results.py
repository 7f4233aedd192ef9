"""What was found in an image, and its files: overlays, label maps, masks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from mmseg.structures import SegDataSample
from PIL import Image
from pycocotools import mask as coco

from code_mm.atomic_write import atomic_write
from code_mm.visualization import draw_overlay
from code_mm.visualization.lettering import Colour

from .class_query import ClassQuery
from .input_images import InputImage


@dataclass
class Segmentation:
    """One segmented image."""

    input: InputImage
    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    sample: SegDataSample
    """mmseg's result, on the CPU."""
    query: ClassQuery
    """What was looked for: ``query.names`` are the classes in label order."""

    @cached_property
    def labels(self) -> np.ndarray:
        """(H, W) int32, indices into the names."""
        return self.sample.pred_sem_seg.data[0].numpy().astype(np.int32)

    @property
    def scores(self) -> np.ndarray:
        """(classes, H, W) float32 in [0, 1]; the background's plane is its threshold."""
        if 'seg_logits' not in self.sample:
            raise ValueError('scores were not kept; ask for them (keep_scores=True)')
        return self.sample.seg_logits.data.float().numpy()

    @cached_property
    def shares(self) -> dict[str, float]:
        """Share of the image's pixels by class name, in label order; they add up to 1."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.query.names))
        return dict(zip(self.query.names, (counts / self.labels.size).tolist(), strict=True))

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """(H, W) bool by name, of the classes that occur."""
        names = self.query.names
        return {names[label]: self.labels == label for label in np.unique(self.labels)}

    def overlay(self, opacity: float = 0.6, whole_legend: bool = False) -> np.ndarray:
        """The image with its classes in colour and a legend, RGB; see ``draw_overlay``."""
        plain = None if self.query.background_threshold is None else 0
        looks = (self.query.names, self.query.colours, opacity, plain, whole_legend)
        return draw_overlay(self.image, self.labels, *looks)

    def describe(self) -> dict:
        """What the json file of an image holds: its classes and their masks, run-length coded."""
        height, width = self.labels.shape
        segments = []
        for name, mask in self.masks.items():
            runs = coco.encode(np.asfortranarray(mask, np.uint8))
            segments.append(
                dict(
                    label=self.query.names.index(name),
                    name=name,
                    area=int(mask.sum()),
                    share=round(self.shares[name], 6),
                    segmentation=dict(size=[height, width], counts=runs['counts'].decode()),
                )
            )
        return dict(
            image=self.input.shown,
            height=height,
            width=width,
            classes=list(self.query.names),
            background_threshold=self.query.background_threshold,
            segments=segments,
        )


class ResultFolders:
    """Writes what was found, one file per image and kind; a file is whole or not there.

    Args:
        out_dir (str | Path): Nothing is written where it is ''.
        vis (str): Subfolder of overlays; '' for none.
        pred (str): Subfolder of label maps: PNG with palette, 16 bits above 256 classes.
        json (str): Subfolder of masks in COCO's run-length encoding.
        vis_suffix (str): Format of the overlays, '.png' or '.jpg'.
    """

    def __init__(
        self,
        out_dir: str | Path,
        vis: str = 'vis',
        pred: str = 'pred',
        json: str = '',
        vis_suffix: str = '.png',
    ) -> None:
        kinds = dict(vis=(vis, vis_suffix), pred=(pred, '.png'), json=(json, '.json'))
        wanted = kinds if str(out_dir) else {}
        self._kinds = {k: (Path(out_dir) / name, end) for k, (name, end) in wanted.items() if name}

    def path(self, kind: str, name: str) -> Path:
        """File of an image, ``kind`` being 'vis', 'pred' or 'json'."""
        folder, suffix = self._kinds[kind]
        return folder / f'{name}{suffix}'

    def complete(self, name: str) -> bool:
        """Whether every file of this image is there."""
        return bool(self._kinds) and all(self.path(kind, name).is_file() for kind in self._kinds)

    def write(self, result: Segmentation, overlay: np.ndarray | None) -> None:
        """Write the files of one image; ``overlay`` is RGB, needed where overlays are wanted."""
        for kind in self._kinds:
            path = self.path(kind, result.input.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            # an interrupted run leaves no half file that a later one would take for done
            with atomic_write(path) as unfinished:
                if kind == 'json':
                    text = json.dumps(result.describe(), ensure_ascii=False)
                    Path(unfinished).write_text(text, encoding='utf-8')
                elif kind == 'pred':
                    label_image(result.labels, result.query.colours).save(unfinished, format='PNG')
                elif path.suffix == '.jpg':
                    Image.fromarray(overlay).save(unfinished, format='JPEG', quality=90)
                else:
                    Image.fromarray(overlay).save(unfinished, format='PNG')


def label_image(labels: np.ndarray, palette: Sequence[Colour]) -> Image.Image:
    """Label map as a picture whose values are the labels."""
    if len(palette) > 256:
        return Image.fromarray(labels.astype(np.uint16))
    picture = Image.fromarray(labels.astype(np.uint8), mode='P')
    picture.putpalette([int(value) for colour in palette for value in colour])
    return picture


def claim_folder(folder: str | Path, settings: dict, overwrite: bool = False) -> None:
    """Note down what results are made with; raises where the folder has those of other settings.

    ``settings`` are plain values: classes, threshold, model. With ``overwrite`` results of others
    may be replaced.
    """
    file = Path(folder) / 'settings.json'
    settings = json.loads(json.dumps(settings))  # as they will be read
    if file.is_file() and not overwrite:
        found = json.loads(file.read_text())
        other = [key for key in settings if found.get(key) != settings[key]]
        if other:
            changes = '; '.join(f'{k}: {found.get(k)} there, {settings[k]} now' for k in other)
            raise ValueError(
                f'{folder} has results made with other settings ({changes}); choose another '
                'folder, or --overwrite'
            )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + '\n')
