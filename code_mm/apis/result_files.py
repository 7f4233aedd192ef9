"""Result files of segmented images: overlays, label maps, masks."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from code_mm.atomic_write import atomic_write
from code_mm.visualization.lettering import Colour

from .segmentation import Segmentation


class ResultFolders:
    """Writes what was found, one file per image and kind; a file is whole or not there.

    Args:
        out_dir (str | Path): Nothing is written where it is ''.
        vis (str): Subfolder of overlays; '' for none.
        pred (str): Subfolder of label maps: PNG with palette, 16 bits above 256 classes.
        json (str): Subfolder of masks in COCO's run-length encoding.
        vis_suffix (str): Format of the overlays.
    """

    def __init__(
        self,
        out_dir: str | Path,
        vis: str = 'vis',
        pred: str = 'pred',
        json: str = '',
        vis_suffix: str = '.png',
    ) -> None:
        wanted = dict(vis=(vis, vis_suffix), pred=(pred, '.png'), json=(json, '.json'))
        self._folders = {
            kind: (Path(out_dir) / folder, suffix)
            for kind, (folder, suffix) in wanted.items()
            if str(out_dir) and folder
        }

    @property
    def draws(self) -> bool:
        """Whether overlays are wanted."""
        return 'vis' in self._folders

    def path(self, kind: str, name: str) -> Path:
        """File of an image, ``kind`` being 'vis', 'pred' or 'json'."""
        folder, suffix = self._folders[kind]
        return folder / f'{name}{suffix}'

    def complete(self, name: str) -> bool:
        """Whether every file of this image is there."""
        return bool(self._folders) and all(self.path(k, name).is_file() for k in self._folders)

    def write(self, result: Segmentation, overlay: np.ndarray | None) -> None:
        """Write the files of one image; ``overlay`` is RGB, needed where overlays are wanted."""
        name = result.input.name
        if 'pred' in self._folders:
            _save(self.path('pred', name), _png(label_image(result.labels, result.palette)))
        if 'json' in self._folders:
            text = json.dumps(describe(result), ensure_ascii=False)
            _save(self.path('json', name), text.encode())
        if 'vis' in self._folders:
            path = self.path('vis', name)
            _save(path, _png(Image.fromarray(overlay), path.suffix))


def label_image(labels: np.ndarray, palette: Sequence[Colour]) -> Image.Image:
    """Label map as a picture whose values are the labels."""
    if len(palette) > 256:
        return Image.fromarray(labels.astype(np.uint16))
    picture = Image.fromarray(labels.astype(np.uint8), mode='P')
    picture.putpalette([int(value) for colour in palette for value in colour])
    return picture


def describe(result: Segmentation) -> dict:
    """What the json file of an image holds: its classes and their masks."""
    height, width = result.labels.shape
    segments = [
        dict(
            label=result.classes.index(name),
            name=name,
            area=int(mask.sum()),
            share=round(result.shares[name], 6),
            segmentation=_run_lengths(mask),
        )
        for name, mask in result.masks.items()
    ]
    return dict(
        image=result.input.shown,
        height=height,
        width=width,
        classes=list(result.classes),
        background_threshold=result.background_threshold,
        segments=segments,
    )


def _run_lengths(mask: np.ndarray) -> dict:
    encoded = coco.encode(np.asfortranarray(mask, np.uint8))
    return dict(size=list(mask.shape), counts=encoded['counts'].decode())


def _png(picture: Image.Image, suffix: str = '.png') -> bytes:
    memory = io.BytesIO()
    keys = dict(quality=90) if suffix == '.jpg' else {}
    picture.save(memory, format='JPEG' if suffix == '.jpg' else 'PNG', **keys)
    return memory.getvalue()


def _save(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # an interrupted run leaves no half file that a later one would take for done
    with atomic_write(path) as unfinished:
        Path(unfinished).write_bytes(content)
