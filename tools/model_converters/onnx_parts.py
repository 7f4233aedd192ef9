"""The two halves of a zero-shot segmentor as modules that torch.export follows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from code_mm.models.post_processing import PAMR
from code_mm.models.post_processing.pamr import STD_EPS, STD_FACTOR, neighbour_indices
from code_mm.models.segmentors import ZeroShotSegmentor
from code_mm.ops import crop, l2_normalize, pad_to_multiple
from code_mm.vocabulary import Vocabulary

AUTO = torch.export.Dim.DYNAMIC


class GatheringPAMR(nn.Module):
    """``PAMR`` without loops over images and chunks of classes, whose counts would be fixed.

    The neighbours at one distance are copied at a time: eight masks in place of one.
    """

    def __init__(self, pamr: PAMR) -> None:
        super().__init__()
        self.pamr = pamr

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Masks [b, n, h, w] refined by images [b, 3, H, W], as ``PAMR``."""
        size = mask.shape[-2:] if self.pamr.grid == 'mask' else image.shape[-2:]
        # pixels first, as rows of tables: b h*w 3 and b h*w n
        image, mask = (
            F.interpolate(x, size, mode='bilinear', align_corners=True).flatten(2).transpose(1, 2)
            for x in (image, mask)
        )
        rings = [neighbour_indices(*size, (d,), image.device) for d in self.pamr.dilations]
        weights = _affinity(image, torch.cat(rings, 1)).split(8, dim=2)
        for _ in range(self.pamr.num_iter):
            mask = sum(
                (w[:, :, None] @ _rows(mask, ring)).squeeze(2)
                for w, ring in zip(weights, rings, strict=True)
            )
        return mask.transpose(1, 2).unflatten(2, size)


def _rows(table: Tensor, indices: Tensor) -> Tensor:
    """Rows of tables [b, pixels, c] by indices [pixels, k]: [b, pixels, k, c]."""
    return table.index_select(1, indices.flatten()).unflatten(1, indices.shape)


def _affinity(image: Tensor, neighbours: Tensor) -> Tensor:
    """``pixel_affinity`` of pixels [b, h * w, 3] with neighbours [h * w, k]: [b, h * w, k]."""
    difference = _rows(image, neighbours) - image[:, :, None]
    count = neighbours.shape[1] // 8 * 9
    squares = difference.square().sum(2) - difference.sum(2).square() / count
    deviation = (squares / (count - 1)).clamp_min(1e-20).sqrt()
    scale = 1 / (STD_EPS + STD_FACTOR * deviation)
    return (-difference.abs() * scale[:, :, None]).mean(3).softmax(2)


@dataclass(frozen=True)
class FreeVocabulary(Vocabulary):
    """A vocabulary whose counts of classes and synonyms are free.

    Attributes:
        phrases_of (Tensor, optional): Numbers of the phrases of each class [classes, synonyms];
            rows with fewer repeat one.
    """

    phrases_of: Tensor | None = None

    def best_synonym(self, scores: Tensor) -> Tensor:
        """As ``Vocabulary``: [b, phrases, h, w] -> [b, classes, h, w]."""
        scores = scores.index_select(1, self.phrases_of.flatten())
        return scores.unflatten(1, self.phrases_of.shape).amax(dim=2)


class ImagePart(nn.Module):
    """Photos and class embeddings in, scores or labels out.

    What the config does to an image is inside: mean, deviation, order of the channels, padding to
    whole patches, PAMR, the knowledge-preserving mix and the background plane. Resizing and
    windows are not.

    Args:
        model (ZeroShotSegmentor): In evaluation mode.
        labels (bool): Give the best class of each pixel in place of scores.
        vocabulary (Vocabulary, optional): Classes that are folded in.

    Raises:
        ValueError: Scores need whole images (``name_scores``), or images are padded otherwise.
    """

    def __init__(
        self, model: ZeroShotSegmentor, labels: bool = False, vocabulary: Vocabulary | None = None
    ) -> None:
        super().__init__()
        head, prepare = model.decode_head, model.data_preprocessor
        if head.name_scores is not None:
            raise ValueError(
                'expected a head without name_scores, which need scores of whole images at their '
                f'original size, but got {type(head.name_scores).__name__}; leave it out: '
                '--cfg-options model.decode_head.name_scores=None'
            )
        if prepare.test_cfg:
            raise ValueError(
                f'expected a data_preprocessor without test_cfg, but got {prepare.test_cfg}: '
                'images are padded to whole patches alone'
            )
        self.model, self.labels, self.vocabulary = model, labels, vocabulary
        self.mixes = head.knowledge_preserving is not None
        # The model's inputs are RGB or BGR; mmseg's preprocessor turns OpenCV's BGR around.
        self.is_bgr = not prepare._channel_conversion
        mean, std = torch.zeros(3), torch.ones(3)
        if prepare._enable_normalize:
            mean, std = prepare.mean.flatten(), prepare.std.flatten()
        self.register_buffer('mean', mean)
        self.register_buffer('std', std)

    def forward(
        self,
        image: Tensor,
        embeddings: Tensor | None = None,
        synonyms: Tensor | None = None,
        template_embeddings: Tensor | None = None,
    ) -> Tensor:
        """Segment.

        Args:
            image (Tensor): uint8 [b, H, W, 3], RGB.
            embeddings (Tensor, optional): Unit-length embeddings of phrases [m, c]; None, as the
                others, where classes are folded in.
            synonyms (Tensor, optional): Numbers of each class' phrases, int64 [classes, s].
            template_embeddings (Tensor, optional): The same phrases in templates [m, c], for the
                knowledge-preserving mix.

        Returns:
            Tensor: Scores [b, classes, H, W], the background plane in front where the model has a
            threshold, or labels int64 [b, H, W].
        """
        model = self.model
        vocabulary = self.vocabulary or FreeVocabulary(
            (), (), embeddings, model.background_threshold, template_embeddings, synonyms
        )
        pixels = image.flip(-1) if self.is_bgr else image
        pixels = ((pixels.float() - self.mean) / self.std).permute(0, 3, 1, 2)
        padded, padding = pad_to_multiple(pixels, model.size_divisor)
        maps = model.extract_feat(padded)
        scores = model.decode_head.predict(maps, vocabulary, padded, model.similarity_to_mask)
        scores = crop(scores, padding)
        return scores.argmax(dim=1) if self.labels else scores


class TextPart(nn.Module):
    """Token ids in, embeddings of classes out.

    Args:
        model (ZeroShotSegmentor): In evaluation mode.
        prompt (nn.Module, optional): Learnt contexts in front of every phrase; without any, ids
            are those of phrases in templates.
    """

    def __init__(self, model: ZeroShotSegmentor, prompt: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone, self.prompt = model._embedder, prompt
        self.raw_mean = model.raw_template_mean

    def forward(self, ids: Tensor) -> Tensor:
        """Unit-length embeddings [n, c] of ids int64 [n, templates, l], with contexts [n, l]."""
        if self.prompt is not None:
            return self.prompt(ids, self.backbone)
        embeds = self.backbone.encode_text(ids.flatten(0, 1))
        embeds = embeds if self.raw_mean else l2_normalize(embeds, dim=-1)
        embeds = embeds.view(ids.shape[0], ids.shape[1], -1)
        return l2_normalize(embeds.mean(dim=1), dim=-1)


def image_examples(
    part: ImagePart, batch: int = 2, patches: tuple[int, int] = (5, 7), classes: int = 6
) -> tuple[dict[str, Tensor], dict[str, dict]]:
    """Random inputs of the image part by name, and which of their sizes are free, by name.

    To be traced, no two sizes may be alike, none 1 and none a whole number of patches:
    torch.export would take it for fixed.
    """
    side, width = part.model.size_divisor, part.model._embedder.embed_dim
    size = patches[0] * side + 3, patches[1] * side + 5
    examples = dict(image=torch.randint(256, (batch, *size, 3), dtype=torch.uint8))
    free = dict(image={0: 'batch', 1: 'height', 2: 'width'})
    if part.vocabulary is None:
        for name in ('embeddings', 'template_embeddings')[: 1 + part.mixes]:
            examples[name] = l2_normalize(torch.randn(classes + 3, width))
            free[name] = {0: 'phrases'}
        examples['synonyms'] = torch.stack([torch.arange(classes), torch.arange(classes) + 3], 1)
        free['synonyms'] = {0: 'classes', 1: 'synonyms'}
    return examples, free


def text_examples(
    part: TextPart, phrases: Sequence[str] = ('a cat', 'a dog', 'a sofa'), templates: int = 2
) -> tuple[dict[str, Tensor], dict[str, dict]]:
    """As :func:`image_examples`."""
    ids = part.backbone.tokenize(phrases, 7)
    if part.prompt is not None:
        return dict(ids=ids), dict(ids={0: 'classes', 1: 'length'})
    ids = torch.stack([ids] * templates, dim=1)
    return dict(ids=ids), dict(ids={0: 'classes', 1: 'templates', 2: 'length'})


@torch.no_grad()
def trace(
    part: nn.Module, examples: dict[str, Tensor], free: dict[str, dict[int, str]]
) -> torch.export.ExportedProgram:
    """``torch.export`` of a part; ``module(check_guards=False)`` of it takes all sizes.

    The guards that it writes down exclude sizes, such as a single row of patches, that torch's
    own rules for strides have cases for; the operators that were recorded need no such case.
    """
    shapes = {name: dict.fromkeys(axes, AUTO) for name, axes in free.items()}
    return torch.export.export(part.eval(), (), examples, dynamic_shapes=shapes, strict=False)


@torch.no_grad()
def to_onnx(
    part: nn.Module,
    examples: dict[str, Tensor],
    free: dict[str, dict[int, str]],
    output: str,
    metadata: dict[str, str],
) -> torch.onnx.ONNXProgram:
    """An ONNX program with named inputs and sizes, and ``metadata`` for its users."""
    program = torch.onnx.export(
        part.eval(),
        (),
        kwargs=examples,
        dynamic_shapes=free,
        input_names=[*examples],
        output_names=[output],
        dynamo=True,
        verbose=False,
    )
    program.model.metadata_props.update(metadata)
    return program


@torch.no_grad()
def compare(part: nn.Module, inputs: dict[str, Tensor], path: Path) -> tuple[float, float, float]:
    """Largest difference of a file's results from the part's, and both times in seconds."""
    session = onnxruntime.InferenceSession(path)
    arrays = {name: value.numpy() for name, value in inputs.items()}
    runs = lambda: part(**inputs).numpy(), lambda: session.run(None, arrays)[0]
    results, seconds = [run() for run in runs], []
    for run in runs:
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return float(np.abs(results[0] - results[1]).max()), *seconds


def numbered(synonyms: Sequence[Sequence[str]]) -> np.ndarray:
    """The input ``synonyms`` of an image part, int64 [classes, s], of the phrases themselves."""
    longest, rows, first = max(map(len, synonyms)), [], 0
    for phrases in synonyms:
        rows.append([first + min(i, len(phrases) - 1) for i in range(longest)])
        first += len(phrases)
    return np.array(rows)
