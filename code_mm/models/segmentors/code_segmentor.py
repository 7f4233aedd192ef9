"""CoDe: an image segmenter that learns from captions by co-decomposition."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from code_mm.registry import MODELS
from code_mm.weights.model_weights import init_from_files

from ..co_decomposition import CoDecompositionStep
from .zero_shot_segmentor import ZeroShotSegmentor


@MODELS.register_module()
class CoDeSegmentor(ZeroShotSegmentor):
    """Image-text co-decomposition (Wu et al., CVPR 2024; thesis ch. 3).

    Training takes image-caption pairs (``PackCaptionInputs``), prediction images and class names.

    Args:
        backbone (dict): A ``VisionLanguageBackbone`` such as ``CLIP``; frozen, it serves every use.
        image_segmenter (dict): ``ImageSegmenter``.
        co_decomposition (dict): ``CoDecomposition``: prompts, masks, text segmenter and losses.
            Its scale and bias make the masks of prediction, too.
        decode_head (dict): ``ZeroShotHead`` without a scale and bias of its own.
        unsynchronized (Sequence[str]): Patterns (``fnmatch``) of parameters whose gradients are not
            averaged over processes. The release's last image block, frozen while
            DistributedDataParallel looks at it, is one: configs/ablation/release_processes.py.
        **kwargs: Those of ``ZeroShotSegmentor``. ``init_cfg`` may name a checkpoint of any kind:
            our own, of the CoDe or TCL release, or trained parts (docs/weights.md).
    """

    def __init__(
        self,
        backbone: dict,
        image_segmenter: dict,
        co_decomposition: dict,
        decode_head: dict,
        unsynchronized: Sequence[str] = (),
        **kwargs,
    ) -> None:
        super().__init__(backbone=backbone, decode_head=decode_head, **kwargs)
        self.image_segmenter = MODELS.build({**image_segmenter, 'backbone': self.backbone})
        self.co_decomposition = MODELS.build({**co_decomposition, 'backbone': self.backbone})
        names = [name for name, _ in self.named_parameters()]
        ignored = [name for pattern in unsynchronized for name in fnmatch.filter(names, pattern)]
        if unsynchronized and not ignored:
            raise ValueError(
                f'expected unsynchronized patterns that match parameters, but got {unsynchronized}'
            )
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(self, ignored)

    @property
    def noun_prompt(self) -> nn.Module | None:
        """The learnt contexts in front of nouns and class names."""
        return self.co_decomposition.noun_prompt

    @property
    def similarity_to_mask(self) -> nn.Module:
        """Scale and bias of the masks, learnt with the rest."""
        return self.co_decomposition.similarity_to_mask

    def init_weights(self) -> None:
        """Load the backbone and start the trainable copies from it; then the ``init_cfg``."""
        init_from_files(self, self._start_copies)

    def pixel_embeddings(self, image: Tensor) -> Tensor:
        """The image segmenter's embedding x^v [b, c, h, w] of normalised images [b, 3, H, W]."""
        with torch.no_grad():
            trunk = self.backbone.trunk(image)
        return self.image_segmenter(trunk)

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """The losses of ``co_decomposition`` for images [b, 3, H, W] and their captions."""
        features = self.pixel_embeddings(inputs)
        return self.co_decomposition(self.backbone, inputs, features, data_samples)

    @torch.no_grad()
    def decompose(self, inputs: Tensor, data_samples: list[SegDataSample]) -> list[SegDataSample]:
        """Decompose image-caption pairs into regions and words (thesis Fig. 4.2).

        The samples receive ``region_masks`` [k, H, W] and, where there is a text segmenter,
        ``word_masks`` [k, l]; both probabilities.
        """
        features = self.pixel_embeddings(inputs)
        parts = self.co_decomposition, self.backbone
        regions, words = CoDecompositionStep(*parts, inputs, features, data_samples).decompose()
        regions = F.interpolate(regions, inputs.shape[-2:], mode='bilinear', align_corners=False)
        for i, sample in enumerate(data_samples):
            sample.set_field(regions[:, i], 'region_masks')
            if words is not None:
                sample.set_field(words[:, i], 'word_masks')
        return data_samples

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Features of the image segmenter, and the backbone's own where the head mixes them in."""
        trunk = self.backbone.trunk(inputs)
        features = (self.image_segmenter(trunk),)
        if self.decode_head.knowledge_preserving is not None:
            features += (self.backbone.dense(trunk),)
        return features

    def _start_copies(self) -> None:
        self.image_segmenter.copy_from(self.backbone)
        self.co_decomposition.copy_from(self.backbone)

    def _init_decode_head(self, decode_head: dict) -> None:
        if decode_head.get('similarity_to_mask'):
            raise ValueError(
                'expected no similarity_to_mask in decode_head, since that of co_decomposition is '
                'used in training and prediction; move it there'
            )
        channels = dict(in_channels=self.backbone.embed_dim)
        super()._init_decode_head({**channels, **decode_head, 'similarity_to_mask': None})
