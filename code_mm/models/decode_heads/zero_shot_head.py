"""A decode head whose classes are named, not trained."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from code_mm.ops import l2_normalize, region_similarity
from code_mm.registry import MODELS
from code_mm.text import get_templates

from .class_embeddings import embed_class_names

# Averaged over the labelled pixels, as in PyTorch.
_LOSS = dict(type='CrossEntropyLoss', avg_non_ignore=True)


@MODELS.register_module()
class ZeroShotHead(BaseDecodeHead):
    """Class names in, scores out, on any backbone's feature map.

    Features of unit length are compared with text embeddings of the class names; scale and bias
    turn the cosine into a logit (thesis §3.2, §4.1). In prediction the soft masks may be refined by
    a post-processor, mixed with those of a second, frozen feature map (knowledge-preserving
    mix) and completed by a background plane.

    Class names come from :meth:`set_class_names` (``ClassNamesHook`` calls it with those of the
    data set under evaluation) or from the key ``class_names``.

    Args:
        in_channels (int): Channels of the feature map; those of the joint embedding unless
            ``project`` is set.
        embed_dim (int, optional): Channels of the joint embedding; ``in_channels`` by default.
        project (bool): Learn a 1x1 convolution from ``in_channels`` to ``embed_dim``, for
            backbones that do not speak CLIP's language.
        class_names (Sequence[str], optional): Class names, 'background' first if there is one;
            'car|automobile' gives synonyms.
        text_encoder (dict, optional): A text tower of its own, e.g. ``CLIPTextEncoder``. Not
            needed where the segmentor sets the embeddings, as CoDe does.
        templates (str | Sequence[str]): Templates of the class names, see ``get_templates``.
        similarity_to_mask (dict): Scale and bias, ``SimilarityToMask``.
        background_threshold (float, optional): Score of a constant background plane in front, in
            (0, 1). The first class name must then be 'background'.
        knowledge_preserving (dict, optional): Keys ``weight`` (share of the frozen branch, 0.3 in
            CoDe), ``scale`` (10), ``threshold`` (cosine of probability 1/2, 0.25), ``templates``
            and ``in_index`` (which of the inputs is the frozen map, the last by default).
        post_processor (dict, optional): E.g. ``PAMR``; called with image and masks. It needs a
            segmentor that hands over the image: ``ZeroShotSegmentor`` or ``CoDeSegmentor``.
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
        post_processor: dict | None = None,
        **kwargs,
    ) -> None:
        embed_dim = embed_dim or in_channels
        names = _class_list(class_names) if class_names else None
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
        if background_threshold is not None and not 0 < background_threshold < 1:
            raise ValueError(
                f'expected a background_threshold in (0, 1), but got {background_threshold}'
            )
        self.projection = nn.Conv2d(self.in_channels, embed_dim, 1) if project else nn.Identity()
        self.class_names, self.templates = names, get_templates(templates)
        self.background_threshold = background_threshold
        self.knowledge_preserving = _knowledge_preserving_keys(knowledge_preserving)
        self.text_encoder = MODELS.build(text_encoder) if text_encoder else None
        self.similarity_to_mask = MODELS.build(similarity_to_mask or dict(type='SimilarityToMask'))
        self.post_processor = MODELS.build(post_processor) if post_processor else None
        self._synonyms_per_class: list[int] = []
        self.register_buffer('class_embeddings', None, persistent=False)
        self.register_buffer('frozen_class_embeddings', None, persistent=False)

    def phrases(self, names: Sequence[str]) -> list[str]:
        """What is looked for in the image: the synonyms of all classes but the background plane.

        A class name may give several synonyms, ``'car|automobile'``; they are embedded separately
        and the class takes the maximum of their scores.

        Args:
            names (Sequence[str]): All class names.

        Returns:
            list[str]: Phrases to embed, those of one class behind each other.

        Raises:
            ValueError: There is a background threshold, but the first name is not 'background';
                or a single class would be left without a background to compare with.
        """
        names = _class_list(names)
        if self.background_threshold is None:
            if len(names) == 1:
                raise ValueError(
                    f'expected at least two classes, but got {names}: every pixel would be this '
                    "class; add a class, or 'background' in front and a background_threshold"
                )
            return [phrase for name in names for phrase in _synonyms(name)]
        if names[0] != 'background' or len(names) < 2:
            raise ValueError(
                "expected 'background' as the first of at least two class names because "
                f'background_threshold is set, but got {names[:5]}; set '
                'background_threshold=None for a data set without background class'
            )
        return [phrase for name in names[1:] for phrase in _synonyms(name)]

    def set_class_names(self, names: Sequence[str]) -> None:
        """Look for these classes from now on, embedded by the head's own text tower."""
        if self.text_encoder is None:
            raise ValueError(
                'this ZeroShotHead has no text_encoder to embed class names; give it one, or use '
                'a segmentor that sets the embeddings (CoDeSegmentor)'
            )
        phrases = self.phrases(names)
        embeddings = embed_class_names(self.text_encoder, phrases, self.templates)
        self.set_class_embeddings(names, embeddings, self.embed_frozen(self.text_encoder, phrases))

    def embed_frozen(self, text_encoder: nn.Module, phrases: Sequence[str]) -> Tensor | None:
        """Embeddings [phrases, c] of the knowledge-preserving branch, None without it."""
        if not self.knowledge_preserving:
            return None
        return embed_class_names(text_encoder, phrases, self.knowledge_preserving['templates'])

    def set_class_embeddings(
        self, names: Sequence[str], embeddings: Tensor, frozen: Tensor | None = None
    ) -> None:
        """Take over ready-made embeddings.

        Args:
            names (Sequence[str]): All class names, 'background' first if there is a threshold.
            embeddings (Tensor): Unit-length embeddings [phrases, c] of :meth:`phrases`.
            frozen (Tensor, optional): Those of the knowledge-preserving branch.
        """
        self.class_names = list(names)
        foreground = self.class_names[0 if self.background_threshold is None else 1 :]
        self._synonyms_per_class = [len(_synonyms(name)) for name in foreground]
        if len(embeddings) != sum(self._synonyms_per_class):
            raise ValueError(
                f'expected {sum(self._synonyms_per_class)} embeddings for {foreground}, but got '
                f'{len(embeddings)}'
            )
        self.num_classes = self.out_channels = len(self.class_names)
        self.class_embeddings, self.frozen_class_embeddings = embeddings, frozen

    def forget_class_embeddings(self) -> None:
        """Drop embeddings that no longer fit the weights; the names are kept."""
        self.class_embeddings = self.frozen_class_embeddings = None

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits of all classes on the feature grid, as a loss takes them.

        Args:
            inputs (Sequence[Tensor]): Feature maps [b, c, h, w].

        Returns:
            Tensor: [b, classes (+ background in front), h, w]; the background's logit is that of
            its threshold.
        """
        logits = self._best_synonym(self.similarity_to_mask.logits(self._similarity(inputs)))
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
            Tensor: Scores in [0, 1], [b, classes (+ background in front), H, W].
        """
        scores = self.similarity_to_mask(self._similarity(inputs))
        if self.post_processor is not None:
            if image is None:
                raise ValueError(
                    'the post_processor of ZeroShotHead needs the image, which an ordinary '
                    "EncoderDecoder does not hand over; use type='ZeroShotSegmentor'"
                )
            scores = self.post_processor(image, scores)
        if self.knowledge_preserving:
            scores = self._mix_with_frozen(scores, inputs)
        scores = self.predict_by_feat(self._best_synonym(scores), batch_img_metas)
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
        features = self.projection(self._transform_inputs(inputs))
        return region_similarity(l2_normalize(features, dim=1), self.class_embeddings)

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.forget_class_embeddings()  # they were made with the weights before

    def _best_synonym(self, scores: Tensor) -> Tensor:
        """Maximum over the synonyms of every class: [b, phrases, h, w] -> [b, classes, h, w]."""
        if max(self._synonyms_per_class) == 1:
            return scores
        parts = scores.split(self._synonyms_per_class, dim=1)
        return torch.stack([part.amax(dim=1) for part in parts], dim=1)

    def _mix_with_frozen(self, scores: Tensor, inputs: Sequence[Tensor]) -> Tensor:
        keys = self.knowledge_preserving
        features = l2_normalize(inputs[keys['in_index']], dim=1)
        cosine = region_similarity(features, self.frozen_class_embeddings)
        frozen = torch.sigmoid(keys['scale'] * (cosine - keys['threshold']))
        frozen = F.interpolate(
            frozen, size=scores.shape[-2:], mode='bilinear', align_corners=self.align_corners
        )
        return keys['weight'] * frozen + (1 - keys['weight']) * scores


def _class_list(names: Sequence[str]) -> list[str]:
    listed = [] if isinstance(names, str) else list(names)  # a string would give its letters
    if not listed or not all(isinstance(name, str) and _synonyms(name) for name in listed):
        raise ValueError(f'expected a list of non-empty class names, but got {names!r}')
    return listed


def _synonyms(name: str) -> list[str]:
    return [phrase.strip() for phrase in name.split('|') if phrase.strip()]


def _knowledge_preserving_keys(keys: dict | None) -> dict | None:
    """Fill in the authors' constants; a weight of 0 switches the branch off."""
    if not keys or not keys.get('weight', 0.3):
        return None
    defaults = dict(weight=0.3, scale=10.0, threshold=0.25, templates='custom', in_index=-1)
    unknown = sorted(keys.keys() - defaults.keys())
    if unknown:
        raise ValueError(
            f'expected keys of knowledge_preserving among {sorted(defaults)}, but got {unknown}'
        )
    keys = {**defaults, **keys}
    return {**keys, 'templates': get_templates(keys['templates'])}
