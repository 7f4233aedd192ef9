"""What was found in an image, and its files: overlays, label maps, masks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from mmseg.structures import SegDataSample
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pycocotools import mask as coco

from code_mm.atomic_write import atomic_write
from code_mm.visualization import draw_overlay
from code_mm.visualization.lettering import Colour

from .class_query import ClassQuery
from .input_images import InputImage, UnreadableImage, origin_of, result_names


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

    Every file says what it was made from: PNG in the text ``made_from``, JPEG as its comment, JSON
    under a key of that name. An image never takes a name that another one's results have.

    Args:
        out_dir (str | Path): Nothing is written where it is ''.
        vis (str): Subfolder of overlays; '' for none.
        pred (str): Subfolder of label maps: PNG with palette, 16 bits above 256 classes.
        json (str): Subfolder of masks in COCO's run-length encoding.
        vis_suffix (str): Format of the overlays, '.png' or '.jpg'.
        settings (Mapping): All that results depend on beside the image; ``weights`` by checksum.
    """

    def __init__(
        self,
        out_dir: str | Path,
        vis: str = 'vis',
        pred: str = 'pred',
        json: str = '',
        vis_suffix: str = '.png',
        settings: Mapping | None = None,
    ) -> None:
        kinds = dict(vis=(vis, vis_suffix), pred=(pred, '.png'), json=(json, '.json'))
        wanted = kinds if str(out_dir) else {}
        self._kinds = {k: (Path(out_dir) / name, end) for k, (name, end) in wanted.items() if name}
        settings = dict(settings or {})
        self._made_with = dict(weights=settings.get('weights'), settings=checksum(settings))
        self._owners: dict[str, Mapping] = {}

    def path(self, kind: str, name: str) -> Path:
        """File of an image, ``kind`` being 'vis', 'pred' or 'json'."""
        folder, suffix = self._kinds[kind]
        return folder / f'{name}{suffix}'

    def place(self, image: InputImage, first: str = '') -> InputImage:
        """The image with its origin, and a name that no other input has, earlier runs included.

        Of a video ``first`` is what the name of its first frame ends with. What cannot be read is
        given back as it is.
        """
        if not self._kinds:
            return image
        try:
            origin = image.origin or origin_of(image.source)
        except UnreadableImage:
            return image
        names = [image.name, f'{image.name}_{origin["sha256"][:16]}']
        if origin['source'] is not None:
            names[1:] = result_names(image.source)
        owners = {n: self._owners.get(n + first) or self._found(n + first) for n in names}
        ours = [n for n, one in owners.items() if one and _is_of(one, origin)]
        name = [*ours, *(n for n, one in owners.items() if not one), names[-1]][0]
        self._owners[name + first] = origin
        return image._replace(name=name, origin=origin)

    def complete(self, image: InputImage) -> bool:
        """Whether every file of an image that was placed is there, of this content and settings."""
        wanted = dict(self._record(image), source=None)
        found = [read_record(self.path(kind, image.name)) for kind in self._kinds]
        return bool(found) and all(one and dict(one, source=None) == wanted for one in found)

    def _found(self, name: str) -> dict | None:
        records = (read_record(self.path(kind, name)) for kind in self._kinds)
        return next((one for one in records if one), None)

    def _record(self, image: InputImage) -> dict:
        return dict(image.origin or {}, **self._made_with)

    def write(self, result: Segmentation, overlay: np.ndarray | None) -> None:
        """Write the files of one image; ``overlay`` is RGB, needed where overlays are wanted."""
        record = self._record(result.input)
        text, info = json.dumps(record), PngInfo()
        info.add_text('made_from', text)
        for kind in self._kinds:
            path = self.path(kind, result.input.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            # an interrupted run leaves no half file that a later one would take for done
            with atomic_write(path) as unfinished:
                if kind == 'json':
                    described = dict(result.describe(), made_from=record)
                    content = json.dumps(described, ensure_ascii=False)
                    Path(unfinished).write_text(content, encoding='utf-8')
                elif kind == 'pred':
                    labels = label_image(result.labels, result.query.colours)
                    labels.save(unfinished, format='PNG', pnginfo=info)
                elif path.suffix == '.jpg':
                    picture = Image.fromarray(overlay)
                    picture.save(unfinished, format='JPEG', quality=90, comment=text)
                else:
                    Image.fromarray(overlay).save(unfinished, format='PNG', pnginfo=info)


def _is_of(record: Mapping, origin: Mapping) -> bool:
    """Whether a result is of this input: changed since, or moved since."""
    same = record['sha256'] == origin['sha256']
    if record['source'] is None or origin['source'] is None:
        return same and record['source'] == origin['source']
    return record['source'] == origin['source'] or (same and not Path(record['source']).exists())


def read_record(path: Path) -> dict | None:
    """What a result file says that it was made from; None where there is none that says it."""
    try:
        if path.suffix == '.json':
            record = json.loads(path.read_text('utf-8'))['made_from']
        else:
            with Image.open(path) as picture:
                record = picture.info.get('made_from') or picture.info['comment']
            record = json.loads(record)
        return record if {'source', 'sha256', 'settings'} <= record.keys() else None
    except (OSError, SyntaxError, ValueError, LookupError, TypeError, AttributeError):
        return None


def label_image(labels: np.ndarray, palette: Sequence[Colour]) -> Image.Image:
    """Label map as a picture whose values are the labels."""
    if len(palette) > 256:
        return Image.fromarray(labels.astype(np.uint16))
    picture = Image.fromarray(labels.astype(np.uint8), mode='P')
    picture.putpalette([int(value) for colour in palette for value in colour])
    return picture


def checksum(settings: object) -> str:
    """SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(settings, default=str).encode()).hexdigest()
