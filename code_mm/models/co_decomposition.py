"""Image-text co-decomposition: one training step in the order of thesis Fig. 3.1."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from code_mm.ops import gather, masked_pooling, rank, region_similarity
from code_mm.registry import MODELS
from code_mm.structures import CaptionBatch

from .backbones import VisionLanguageBackbone


@MODELS.register_module()
class CoDecomposition(BaseModule):
    """What CoDe adds to an image network: prompts, masks, text segmenter and losses (thesis ch. 3).

    Any network that gives unit-length pixel embeddings in the backbone's joint space learns from
    captions with it: CoDe's image segmenter, or a supervised one beside its labels.

    Args:
        backbone (VisionLanguageBackbone): The frozen model whose towers embed; for sizes only,
            not kept.
        losses (dict): Losses by name; ``loss(step)`` is called with a
            :class:`CoDecompositionStep`, whose values are computed when a loss asks for them. A
            loss that is None is left out.
        noun_prompt (dict, optional): ``NounContextPrompt`` or another one. None: predicts only.
        similarity_to_mask (dict, optional): Scale and bias of the region masks,
            ``SimilarityToMask``, in training and prediction.
        region_prompt (dict, optional): ``RegionHighlightingPrompt``.
        text_segmenter (dict, optional): ``TextSegmenter``; without it captions are not
            decomposed (thesis Table 4.2, first row).
        word_prompt (dict, optional): ``WordHighlightingPrompt``.
    """

    def __init__(
        self,
        backbone: VisionLanguageBackbone,
        losses: dict | None = None,
        noun_prompt: dict | None = None,
        similarity_to_mask: dict | None = None,
        region_prompt: dict | None = None,
        text_segmenter: dict | None = None,
        word_prompt: dict | None = None,
    ) -> None:
        super().__init__()
        width, heads = backbone.text_width, backbone.text_heads
        self.similarity_to_mask = MODELS.build(
            {'type': 'SimilarityToMask', **(similarity_to_mask or {})}
        )
        self.noun_prompt = _build(noun_prompt, text_width=width)
        self.region_prompt = _build(region_prompt)
        self.text_segmenter = _build(
            text_segmenter, text_width=width, text_heads=heads, embed_dim=backbone.embed_dim
        )
        self.word_prompt = _build(
            word_prompt, text_width=width, context_length=backbone.context_length
        )
        losses = {name: cfg for name, cfg in (losses or {}).items() if cfg}
        self.losses = nn.ModuleDict({name: MODELS.build(cfg) for name, cfg in losses.items()})

    def copy_from(self, backbone: VisionLanguageBackbone) -> None:
        """Start from the backbone's weights as they are now."""
        for part in (self.noun_prompt, self.text_segmenter):
            if hasattr(part, 'copy_from'):
                part.copy_from(backbone)

    def forward(
        self,
        backbone: VisionLanguageBackbone,
        image: Tensor,
        features: Tensor,
        data_samples: Sequence[SegDataSample],
    ) -> dict[str, Tensor]:
        """All losses of a batch, already weighted: ``loss_<name>``; Args as those of the step."""
        step = CoDecompositionStep(self, backbone, image, features, data_samples)
        # The uncut length, or a rare long noun would end a long run.
        self.noun_prompt.check_length(data_samples[0].noun_ids.shape[-1], backbone)
        return {f'loss_{name}': loss(step) for name, loss in self.losses.items()}


class CoDecompositionStep:
    """A batch of image-caption pairs and all that is found in it, computed when first asked for.

    Letters: b pairs of this process, k nouns per caption, n = k * b image-noun pairs (noun slot
    outermost), m nouns of all processes, c channels, [h, w] mask grid, l text positions.

    Args:
        parts (CoDecomposition): What computes.
        backbone (VisionLanguageBackbone): The frozen vision-language model.
        image (Tensor): Normalised images [b, 3, H, W], as the backbone takes them.
        features (Tensor): Unit-length pixel embeddings x^v [b, c, h, w] of the network that learns.
        data_samples (Sequence[SegDataSample]): Captions, see ``CaptionBatch``.
    """

    def __init__(
        self,
        parts: CoDecomposition,
        backbone: VisionLanguageBackbone,
        image: Tensor,
        features: Tensor,
        data_samples: Sequence[SegDataSample],
    ) -> None:
        _require(parts, 'noun_prompt', 'training')
        self.parts, self.backbone = parts, backbone
        self.image, self.features = image, features
        self.captions = CaptionBatch.from_samples(data_samples)

    def value(self, name: str) -> Tensor:
        """One of the values below by its name, for losses that are told it by their config."""
        if not isinstance(getattr(type(self), name, None), cached_property) and name != 'features':
            known = [k for k, v in vars(type(self)).items() if isinstance(v, cached_property)]
            raise ValueError(f'expected a value among {["features", *known]}, but got {name!r}')
        return getattr(self, name)

    @cached_property
    def nouns(self) -> Tensor:
        """Unit-length noun embeddings n [n, c] behind the learnt contexts (§3.2)."""
        return self.parts.noun_prompt(self.captions.noun_ids, self.backbone)

    @cached_property
    def guide(self) -> Tensor:
        """Embeddings of the same nouns in hand-written templates [n, c], for Eq. 3.1."""
        with torch.no_grad():
            return F.normalize(self.backbone.encode_text(self.captions.guide_ids), dim=-1)

    @cached_property
    def similarity(self) -> Tensor:
        """Cosines of every location with the nouns of all processes [b, m, h, w]."""
        return region_similarity(self.features, gather(self.nouns))

    @cached_property
    def masks(self) -> Tensor:
        """Soft masks of the nouns of all processes in every image [b, m, h, w], in (0, 1)."""
        return self.parts.similarity_to_mask(self.similarity)

    @cached_property
    def own_similarity(self) -> Tensor:
        """Cosines with every image's own nouns [n, 1, h, w]."""
        pair = torch.arange(len(self.nouns), device=self.nouns.device)
        return self.similarity[pair % len(self.features), pair + rank() * len(pair), None]

    @cached_property
    def own_masks(self) -> Tensor:
        """Soft masks of every image's own nouns [n, 1, h, w]."""
        return self.parts.similarity_to_mask(self.own_similarity)

    @cached_property
    def hard_masks(self) -> Tensor:
        """Random hard masks of the same, straight-through, in {0, 1}."""
        return self.parts.similarity_to_mask.hard(self.own_similarity)

    @cached_property
    def negative_area(self) -> Tensor:
        """Mean of the soft masks of the nouns that are not an image's own, 0-d.

        Every pair has the other m - 1 nouns as negatives, so the sum of their masks is the whole
        less the positives; they need not be laid out.
        """
        m = self.masks.shape[1]
        whole, own = self.masks.float().mean(), self.own_masks.float().mean()
        return (m * whole - own) / max(m - 1, 1)

    @cached_property
    def pooled(self) -> Tensor:
        """Features pooled by every noun's soft mask [n, m, c], not normalised."""
        pooled = masked_pooling(self.features, self.masks)  # b m c
        return pooled.repeat(self.captions.nouns_per_caption, 1, 1)

    @cached_property
    def region_embed(self) -> Tensor:
        """Embeddings e^v [n, c] of the highlighted regions (Eqs. 3.4, 3.6), not normalised."""
        prompt = _require(self.parts, 'region_prompt', 'region_embed')
        return self.backbone.encode_image(prompt(self.image, self.hard_masks))

    @cached_property
    def word_positions(self) -> Tensor:
        """Which positions hold words, not start, end or padding: bool [b, l]."""
        return self.backbone.tokenizer.word_positions(self.captions.caption_ids)

    @cached_property
    def word_logits(self) -> Tensor:
        """Logits of 'no noun' and of the k nouns at every position [b, k + 1, l] (Eq. 3.2)."""
        segmenter = _require(self.parts, 'text_segmenter', 'word_logits')
        with torch.no_grad():
            hidden = self.backbone.hidden_states(self.captions.caption_ids)
        return segmenter.logits(segmenter(hidden), self.nouns)

    @cached_property
    def word_masks(self) -> Tensor:
        """Soft word masks m^t [n, l] (Eq. 3.3), in (0, 1)."""
        return _require(self.parts, 'text_segmenter', 'word_masks').masks(self.word_logits)

    @cached_property
    def text_embed(self) -> Tensor:
        """Embeddings e^t [n, c] of the highlighted texts (Eqs. 3.5, 3.6), not normalised."""
        prompt = _require(self.parts, 'word_prompt', 'text_embed')
        end = self.captions.caption_length  # nothing behind the last end token matters here
        ids, embed_tokens = self.captions.caption_ids[:, :end], self.backbone.embed_tokens
        words = prompt(embed_tokens(ids), self.word_masks[:, :end], self.word_positions[:, :end])
        lengths = self.backbone.text_lengths(ids).repeat(self.captions.nouns_per_caption)
        return self.backbone.encode_words(words, lengths)

    def decompose(self) -> tuple[Tensor, Tensor | None]:
        """Soft masks of own nouns: of regions [k, b, h, w] and of words [k, b, l] (Fig. 4.2).

        Without collectives, so that the main process may draw alone. Words are None without a text
        segmenter.
        """
        nouns = self.nouns.unflatten(0, (-1, len(self.features)))  # k b c
        regions = self.parts.similarity_to_mask(
            torch.einsum('bchw,kbc->kbhw', self.features, nouns)
        )
        if self.parts.text_segmenter is None:
            return regions, None
        return regions, self.word_masks.unflatten(0, (-1, len(self.features)))


def _build(cfg: dict | None, **sizes: int) -> nn.Module | None:
    """Build a part; sizes that follow from the backbone need not stand in the config."""
    return MODELS.build({**sizes, **cfg}) if cfg else None


def _require(parts: CoDecomposition, name: str, wanted: str) -> nn.Module:
    part = getattr(parts, name)
    if part is None:
        raise ValueError(f'expected a {name} in co_decomposition, since {wanted} needs one; add it')
    return part
