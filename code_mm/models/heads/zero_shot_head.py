"""A decode head whose classes are named, not trained."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from code_mm.ops import l2_normalize, region_similarity
from code_mm.registry import MODELS
from code_mm.vocabulary import get_templates

from .class_embeddings import embed_class_names
from .class_names import best_synonym, phrases_by_class
from .named_classes import NamedClasses

# Averaged over the labelled pixels, as in PyTorch.
_LOSS = dict(type='CrossEntropyLoss', avg_non_ignore=True)


@MODELS.register_module()
class ZeroShotHead(NamedClasses, BaseDecodeHead):
    """Class names in, scores out, on any backbone's feature map.

    Features of unit length are compared with text embeddings of the class names; scale and bias
    turn the cosine into a logit (thesis §3.2, §4.1). In prediction the soft masks may be refined by
    a post-processor, mixed with those of a second, frozen feature map (knowledge-preserving
    mix) and completed by a background plane.

    Class names come from :meth:`set_class_names` (see ``ClassNamesHook``) or ``class_names``.

    Args:
        in_channels (int): Channels of the feature map; those of the joint embedding unless
            ``project`` is set.
        embed_dim (int, optional): Channels of the joint embedding; ``in_channels`` by default.
        project (bool): Learn a 1x1 convolution from ``in_channels`` to ``embed_dim``, for
            backbones that do not speak CLIP's language.
        class_names (Sequence[str], optional): Class names, 'background' first if there is one;
            'car|automobile' gives synonyms. Where the head is trained on pixel labels, these are
            the labels' names, to which it returns after every validation.
        text_encoder (dict, optional): A text tower of its own, e.g. ``CLIPTextEncoder``. Not
            needed where the segmentor sets the embeddings, as CoDe does.
        templates (str | Sequence[str]): Templates of the class names, see ``get_templates``.
        similarity_to_mask (dict): Scale and bias, ``SimilarityToMask``.
        background_threshold (float, optional): Score of a constant background plane in front, in
            (0, 1). The first class name must then be 'background'.
        knowledge_preserving (dict, optional): Keys of ``KnowledgePreservingMix``; a weight of 0
            leaves the branch out.
        knowledge_preserving_index (int): Which of the inputs is its frozen feature map.
        post_processor (dict, optional): E.g. ``PAMR``; called with image and masks. It needs a
            segmentor that hands over the image: ``ZeroShotSegmentor`` or ``CoDeSegmentor``.
        name_scores (dict, optional): How cosines of whole images, averaged over windows, become
            class scores: ``SoftmaxOverNames`` or ``MasksOfAveragedLogits``. By default the soft
            masks of the windows are averaged.
        embedding_dir (str, optional): Folder in which embeddings of class lists are kept for the
            next evaluation with the same weights, templates and names; not while training.
        **kwargs: Further keys of mmseg's ``BaseDecodeHead`` (``in_index``, ``loss_decode`` ...).
    """

    def __init__(
        self,
        in_channels: int,
        embed_dim: int | None = None,
        project: bool = False,
        class_names: Sequence[str] | None = None,
        text_encoder: dict | None = None,
        templates: str | Sequence[str] = 'custom',
        similarity_to_mask: dict | None = None,
        background_threshold: float | None = None,
        knowledge_preserving: dict | None = None,
        knowledge_preserving_index: int = -1,
        post_processor: dict | None = None,
        name_scores: dict | None = None,
        embedding_dir: str | None = None,
        **kwargs,
    ) -> None:
        embed_dim = embed_dim or in_channels
        names = None
        if class_names is not None:
            phrases_by_class(class_names, background_threshold is not None)
            names = list(class_names)
        super().__init__(
            in_channels,
            embed_dim,
            num_classes=len(names) if names else 3,  # until the class names are known
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
        self.templates = get_templates(templates)
        self.knowledge_preserving_index = knowledge_preserving_index
        self.knowledge_preserving = _build_mix(knowledge_preserving)
        self.text_encoder = MODELS.build(text_encoder) if text_encoder else None
        self.similarity_to_mask = MODELS.build(similarity_to_mask or dict(type='SimilarityToMask'))
        self.post_processor = MODELS.build(post_processor) if post_processor else None
        self._init_classes(names, background_threshold, embedding_dir)
        self.set_name_scores(name_scores)

    def set_name_scores(self, name_scores: dict | None) -> None:
        """Set how cosines of whole images become class scores, see the key ``name_scores``."""
        for key in ('post_processor', 'knowledge_preserving') if name_scores else ():
            if getattr(self, key) is not None:
                raise ValueError(
                    f'expected no {key} with name_scores, since it refines the soft masks of '
                    f'windows, but got {type(getattr(self, key)).__name__}; set {key}=None'
                )
        self.name_scores = MODELS.build(name_scores) if name_scores else None

    def set_class_names(self, names: Sequence[str]) -> None:
        """Look for these classes from now on, embedded by the head's own text tower."""
        if self.text_encoder is None:
            raise ValueError(
                'this ZeroShotHead has no text_encoder to embed class names; give it one, or use '
                'a segmentor that sets the embeddings (CoDeSegmentor)'
            )
        self.embed_and_set(
            names,
            self.text_encoder,
            lambda phrases: embed_class_names(self.text_encoder, phrases, self.templates),
        )

    def pixel_embeddings(self, inputs: Sequence[Tensor]) -> Tensor:
        """Unit-length features [b, c, h, w], with which texts are compared, of feature maps."""
        return l2_normalize(self.projection(self._transform_inputs(inputs)), dim=1)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits of all classes, for a loss: maps [b, c, h, w] -> [b, classes, h, w].

        The logit of a background plane is that of its threshold.
        """
        logits = best_synonym(
            self.similarity_to_mask.logits(self._similarity(inputs)), self._synonyms_per_class
        )
        if self.background_threshold is None:
            return logits
        odds = self.background_threshold / (1 - self.background_threshold)
        return torch.cat([torch.full_like(logits[:, :1], math.log(odds)), logits], dim=1)

    def predict(
        self,
        inputs: Sequence[Tensor],
        batch_img_metas: list[dict],
        test_cfg: dict,
        image: Tensor | None = None,
    ) -> Tensor:
        """Scores of all classes at the size of the input image.

        Args:
            inputs (Sequence[Tensor]): Feature maps [b, c, h, w].
            batch_img_metas (list[dict]): The shape of the first one is the output's, see mmseg's
                ``predict_by_feat``.
            test_cfg (dict): Not used.
            image (Tensor, optional): The normalised images, for the post-processor.

        Returns:
            Tensor: Scores in [0, 1], [b, classes (+ background in front), H, W]; with
            ``name_scores``, which the segmentor applies afterwards, cosines [b, phrases, H, W].
        """
        if self.name_scores is not None:
            return self.predict_by_feat(self._similarity(inputs), batch_img_metas)
        scores = self.similarity_to_mask(self._similarity(inputs))
        if self.post_processor is not None:
            if image is None:
                raise ValueError(
                    'the post_processor of ZeroShotHead needs the image, which an ordinary '
                    "EncoderDecoder does not hand over; use type='ZeroShotSegmentor'"
                )
            scores = self.post_processor(image, scores)
        if self.knowledge_preserving is not None:
            frozen = inputs[self.knowledge_preserving_index]
            scores = self.knowledge_preserving(scores, frozen, self.frozen_class_embeddings)
        scores = self.predict_by_feat(
            best_synonym(scores, self._synonyms_per_class), batch_img_metas
        )
        if self.background_threshold is None:
            return scores
        background = torch.full_like(scores[:, :1], self.background_threshold)
        return torch.cat([background, scores], dim=1)

    def _similarity(self, inputs: Sequence[Tensor]) -> Tensor:
        if self.class_embeddings is None:
            if not self.class_names:
                raise RuntimeError(
                    'no class names are known; add ClassNamesHook to custom_hooks, set '
                    'decode_head.class_names, or call model.set_class_names([...])'
                )
            self.set_class_names(self.class_names)
        return region_similarity(self.pixel_embeddings(inputs), self.class_embeddings)


def _build_mix(keys: dict | None) -> nn.Module | None:
    if not keys or keys.get('weight') == 0:
        return None
    return MODELS.build({'type': 'KnowledgePreservingMix', **keys})
