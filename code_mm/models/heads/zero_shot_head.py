"""A decode head whose classes are named, not trained."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from code_mm.ops import l2_normalize, region_similarity
from code_mm.registry import MODELS
from code_mm.vocabulary import Vocabulary

# Averaged over the labelled pixels, as in PyTorch.
_LOSS = dict(type='CrossEntropyLoss', avg_non_ignore=True)


@MODELS.register_module()
class ZeroShotHead(BaseDecodeHead):
    """Feature maps and a vocabulary in, scores out, on any backbone.

    Features of unit length are compared with text embeddings of the class names; scale and bias
    turn the cosine into a logit (thesis §3.2, §4.1). In prediction the soft masks may be refined by
    a post-processor, mixed with those of a second, frozen feature map (knowledge-preserving
    mix) and completed by a background plane. The head keeps no class names: ``ZeroShotSegmentor``
    and its kin hand their vocabulary over.

    Args:
        in_channels (int): Channels of the feature map; those of the joint embedding unless
            ``project`` is set.
        embed_dim (int, optional): Channels of the joint embedding; ``in_channels`` by default.
        project (bool): Learn a 1x1 convolution from ``in_channels`` to ``embed_dim``, for
            backbones that do not speak CLIP's language.
        similarity_to_mask (dict, optional): Scale and bias, ``SimilarityToMask``; None where they
            are handed over with every call, as CoDe does.
        knowledge_preserving (dict, optional): Keys of ``KnowledgePreservingMix``, whose frozen
            feature map is the last input; a weight of 0 leaves the branch out.
        post_processor (dict, optional): E.g. ``PAMR``; called with image and masks.
        name_scores (dict, optional): How cosines of whole images, averaged over windows, become
            class scores: a module called with cosines [b, phrases, H, W], vocabulary and
            ``SimilarityToMask`` (see ``projects/dense_clip``). By default the soft masks of
            windows are averaged.
        **kwargs: Further keys of mmseg's ``BaseDecodeHead`` (``in_index``, ``loss_decode`` ...).
    """

    def __init__(
        self,
        in_channels: int,
        embed_dim: int | None = None,
        project: bool = False,
        similarity_to_mask: dict | None = {'type': 'SimilarityToMask'},  # noqa: B006
        knowledge_preserving: dict | None = None,
        post_processor: dict | None = None,
        name_scores: dict | None = None,
        **kwargs,
    ) -> None:
        embed_dim = embed_dim or in_channels
        super().__init__(
            in_channels,
            embed_dim,
            num_classes=3,  # until a vocabulary is known
            dropout_ratio=0,
            init_cfg=None,
            **{'in_index': 0, 'loss_decode': _LOSS, **kwargs},
        )
        del self.conv_seg
        if embed_dim != in_channels and not project:
            raise ValueError(
                f'expected features with the {embed_dim} channels of the joint embedding, but '
                f'in_channels is {in_channels}; set project=True to learn a projection'
            )
        self.projection = nn.Conv2d(self.in_channels, embed_dim, 1) if project else nn.Identity()
        self.knowledge_preserving = None
        if knowledge_preserving and knowledge_preserving.get('weight') != 0:
            knowledge_preserving = {'type': 'KnowledgePreservingMix', **knowledge_preserving}
            self.knowledge_preserving = MODELS.build(knowledge_preserving)
        self.similarity_to_mask = similarity_to_mask and MODELS.build(
            {'type': 'SimilarityToMask', **similarity_to_mask}
        )
        self.post_processor = post_processor and MODELS.build(post_processor)
        self.set_name_scores(name_scores)

    def set_name_scores(self, name_scores: dict | None) -> None:
        """Set how cosines of whole images become class scores, see the key ``name_scores``."""
        for key in ('post_processor', 'knowledge_preserving') if name_scores else ():
            if getattr(self, key) is not None:
                raise ValueError(
                    f'expected no {key} with name_scores, since it refines the soft masks of '
                    f'windows, but got {type(getattr(self, key)).__name__}; set {key}=None'
                )
        self.name_scores = name_scores and MODELS.build(name_scores)

    def pixel_embeddings(self, inputs: Sequence[Tensor]) -> Tensor:
        """Unit-length features [b, c, h, w], with which texts are compared, of feature maps."""
        return l2_normalize(self.projection(self._transform_inputs(inputs)), dim=1)

    def forward(
        self,
        inputs: Sequence[Tensor],
        vocabulary: Vocabulary | None = None,
        similarity_to_mask: nn.Module | None = None,
    ) -> Tensor:
        """Logits of all classes, for a loss: maps [b, c, h, w] -> [b, classes, h, w].

        The logit of a background plane is that of its threshold. Arguments as in :meth:`predict`.
        """
        similarity = self._similarity(inputs, vocabulary)
        to_mask = similarity_to_mask or self.similarity_to_mask
        logits = vocabulary.best_synonym(to_mask.logits(similarity))
        threshold = vocabulary.background_threshold
        return vocabulary.add_background(
            logits, None if threshold is None else math.log(threshold / (1 - threshold))
        )

    def predict(
        self,
        inputs: Sequence[Tensor],
        vocabulary: Vocabulary,
        image: Tensor,
        similarity_to_mask: nn.Module | None = None,
    ) -> Tensor:
        """Scores in [0, 1] at the input's size: [b, classes (+ background in front), H, W].

        With ``name_scores``, which the segmentor applies afterwards: cosines [b, phrases, H, W].

        Of feature maps [b, c, h, w] and the normalised images [b, 3, H, W]; ``similarity_to_mask``
        replaces the head's own.
        """
        if self.name_scores is not None:
            return self._resize(self._similarity(inputs, vocabulary), image)
        scores = self._masks(inputs, vocabulary, similarity_to_mask or self.similarity_to_mask)
        if self.post_processor is not None:
            scores = self.post_processor(image, scores)
        if self.knowledge_preserving is not None:
            frozen = inputs[-1], vocabulary.template_embeddings
            scores = self.knowledge_preserving(scores, *frozen)
        return vocabulary.add_background(self._resize(vocabulary.best_synonym(scores), image))

    def _masks(
        self, inputs: Sequence[Tensor], vocabulary: Vocabulary, similarity_to_mask: nn.Module
    ) -> Tensor:
        """Soft masks [b, phrases, h, w] that are refined next."""
        return similarity_to_mask(self._similarity(inputs, vocabulary))

    def _similarity(self, inputs: Sequence[Tensor], vocabulary: Vocabulary | None) -> Tensor:
        if vocabulary is None:
            raise TypeError(
                'ZeroShotHead needs a vocabulary, which an ordinary EncoderDecoder does not hand '
                "over; use type='ZeroShotSegmentor'"
            )
        return region_similarity(self.pixel_embeddings(inputs), vocabulary.embeddings)

    def _resize(self, scores: Tensor, image: Tensor) -> Tensor:
        size = image.shape[-2:]
        return F.interpolate(scores, size, mode='bilinear', align_corners=self.align_corners)
