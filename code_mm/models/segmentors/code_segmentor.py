"""CoDe: image-text co-decomposition. The wiring of its parts, in the thesis' order (Fig. 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from code_mm.ops import gather, masked_pooling, rank, region_similarity
from code_mm.registry import MODELS
from code_mm.structures import CaptionBatch, RegionMasks
from code_mm.tokenizers import end_of_text_index
from code_mm.weights.model_weights import init_from_files

from ..prompts.word_highlighting_prompt import special_positions
from .code_parts import build_image_segmenter, build_part, check_parts, embed_phrases
from .zero_shot_segmentor import ZeroShotSegmentor


@MODELS.register_module()
class CoDeSegmentor(ZeroShotSegmentor):
    """Image-text co-decomposition (Wu et al., CVPR 2024; thesis ch. 3).

    Training takes image-caption pairs (``PackCaptionInputs``), prediction images and class
    names. *Segmentor* is the whole model, *segmenter* one of its two parts.

    Args:
        backbone (dict): ``CLIP``; one frozen CLIP serves every use.
        decode_head (dict): ``ZeroShotHead``. Its scale and bias make the region masks in training
            too.
        noun_prompt (dict, optional): ``NounContextPrompt``, or ``PlainTextPrompt`` (TCL), which
            puts class names into the head's templates. A model without any predicts only.
        image_segmenter (dict): ``ImageSegmenter``.
        losses (dict): Loss modules by name: knowledge_guided (Eq. 3.1), region_feature,
            region_image, feature_variation, mask_variation, area, negative_area (the image
            segmenter's, TCL), word_segmentation (§3.2) and region_word (Eq. 3.7). A name that is
            missing or None is left out.
        region_prompt (dict): ``RegionHighlightingPrompt``, or ``RegionBlanking``.
        text_segmenter (dict, optional): ``TextSegmenter``; without it the caption's words are not
            decomposed (thesis Table 4.2, first row).
        word_prompt (dict, optional): ``WordHighlightingPrompt``, for highlighted texts.
        alignment_text (str): What region_word aligns regions with: 'highlighted' texts, or the
            single 'noun' (thesis §4.4).
        **kwargs: Those of ``ZeroShotSegmentor``. ``init_cfg`` may name a checkpoint of any kind:
            our own, of the CoDe or TCL release, or trained parts (docs/weights.md).
    """

    def __init__(
        self,
        backbone: dict,
        decode_head: dict,
        noun_prompt: dict | None,
        image_segmenter: dict,
        losses: dict,
        region_prompt: dict | None,
        text_segmenter: dict | None = None,
        word_prompt: dict | None = None,
        alignment_text: str = 'highlighted',
        **kwargs,
    ) -> None:
        super().__init__(backbone=backbone, decode_head=decode_head, **kwargs)
        visual, text = self.backbone.visual, self.backbone.text
        self.noun_prompt = build_part(noun_prompt, width=text.width)
        self.image_segmenter = build_image_segmenter(image_segmenter, visual)
        self.region_prompt = build_part(region_prompt)
        self.text_segmenter = build_part(text_segmenter, width=text.width, heads=text.heads)
        self.word_prompt = build_part(
            word_prompt, context_length=text.context_length, width=text.width
        )
        self.losses = nn.ModuleDict({name: build_part(cfg) for name, cfg in losses.items() if cfg})
        self.alignment_text = alignment_text
        check_parts(self)

    def init_weights(self) -> None:
        """Load CLIP and start the trainable copies from it; then the file of ``init_cfg``."""
        init_from_files(self, self._start_copies)

    def _start_copies(self) -> None:
        self.image_segmenter.copy_from(self.backbone.visual)
        if self.noun_prompt is not None:
            self.noun_prompt.copy_from(self.backbone.text)

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """All losses of a batch of image-caption pairs, already weighted.

        Args:
            inputs (Tensor): Normalised images [b, 3, H, W].
            data_samples (list[SegDataSample]): Captions, see ``CaptionBatch``.

        Returns:
            dict[str, Tensor]: ``loss_<name>`` for every name of the key ``losses``.
        """
        return self.align(inputs, self.pixel_embeddings(inputs), data_samples)

    def align(
        self, inputs: Tensor, features: Tensor, data_samples: list[SegDataSample]
    ) -> dict[str, Tensor]:
        """The losses of :meth:`loss`, from any network's unit-length embedding [b, c, h, w]."""
        if self.noun_prompt is None:
            raise ValueError('expected a noun_prompt for training, but this model has none')
        captions = CaptionBatch.from_samples(data_samples)
        # before they were cut to the batch's longest, or a rare long noun would end a long run
        self.noun_prompt.check_length(data_samples[0].noun_ids.shape[-1], self.backbone.text)
        nouns = self.noun_prompt(captions.noun_ids, self.backbone.text)
        regions = self.segment_regions(features, nouns)
        region_embed = self.backbone.encode_image(self.region_prompt(inputs, regions.hard))

        values = {}
        if 'knowledge_guided' in self.losses:
            with torch.no_grad():
                guide = F.normalize(self.backbone.encode_text(captions.guide_ids), dim=-1)
            values['knowledge_guided'] = self._loss('knowledge_guided', nouns, guide)
        values.update(self._region_losses(regions, nouns, region_embed))
        if self.text_segmenter is not None:
            logits = self.segment_words(captions.caption_ids, nouns)
            words = ~special_positions(captions.caption_ids)
            values['word_segmentation'] = self._loss(
                'word_segmentation', logits, captions.token_labels, words
            )
        if 'region_word' in self.losses:
            text = nouns
            if self.alignment_text == 'highlighted':
                seen = captions.caption_length  # behind the end token nothing matters here
                text = self.embed_highlighted(captions.caption_ids[:, :seen], logits[..., :seen])
            values['region_word'] = self._loss('region_word', region_embed, text)
        return {f'loss_{name}': value for name, value in values.items() if value is not None}

    def pixel_embeddings(self, image: Tensor) -> Tensor:
        """The image segmenter's embedding x^v [b, c, h, w] of normalised images [b, 3, H, W]."""
        with torch.no_grad():
            trunk = self.backbone.visual.trunk(image)
        return self.image_segmenter(trunk)

    def segment_regions(self, features: Tensor, nouns: Tensor) -> RegionMasks:
        """Match features [b, c, h, w] with the global batch's nouns; [n, c] are our own (§3.2)."""
        similarity = region_similarity(features, gather(nouns))  # b m h w
        pair = torch.arange(len(nouns), device=nouns.device)
        own = similarity[pair % len(features), pair + rank() * len(nouns), None]  # n 1 h w
        to_mask = self.decode_head.similarity_to_mask
        return RegionMasks(features, to_mask(similarity), to_mask(own), to_mask.hard(own))

    def segment_words(self, caption_ids: Tensor, nouns: Tensor) -> Tensor:
        """Word logits of the k + 1 cases [b, k + 1, l] (Eq. 3.2)."""
        with torch.no_grad():
            hidden = self.backbone.text.hidden_states(caption_ids)
        return self.text_segmenter.logits(self.text_segmenter(hidden), nouns)

    def embed_highlighted(self, caption_ids: Tensor, logits: Tensor) -> Tensor:
        """Embeddings e^t [n, c] of the highlighted texts (Eqs. 3.5, 3.6)."""
        text = self.backbone.text
        masks = self.text_segmenter.masks(logits)
        words = self.word_prompt(text.token_embedding(caption_ids), masks, caption_ids)
        end = end_of_text_index(caption_ids).repeat(len(words) // len(caption_ids))
        return text.encode_words(words, end)

    @torch.no_grad()
    def decompose(self, inputs: Tensor, data_samples: list[SegDataSample]) -> list[SegDataSample]:
        """Decompose image-caption pairs into regions and words (thesis Fig. 4.2).

        Args:
            inputs (Tensor): Normalised images [b, 3, H, W].
            data_samples (list[SegDataSample]): Captions, see ``CaptionBatch``.

        Returns:
            list[SegDataSample]: The samples with ``region_masks`` [k, H, W] and, where there is a
            text segmenter, ``word_masks`` [k, l]; both probabilities.
        """
        captions = CaptionBatch.from_samples(data_samples)
        nouns = self.noun_prompt(captions.noun_ids, self.backbone.text)
        # Own nouns only, and no collective: the main process may draw pictures alone.
        features = self.pixel_embeddings(inputs)
        own = nouns.unflatten(0, (-1, len(inputs)))  # k b c
        soft = self.decode_head.similarity_to_mask(torch.einsum('bchw,kbc->kbhw', features, own))
        regions = F.interpolate(soft, size=inputs.shape[-2:], mode='bilinear', align_corners=False)
        words = None
        if self.text_segmenter is not None:
            logits = self.segment_words(captions.caption_ids, nouns)
            words = self.text_segmenter.masks(logits).unflatten(0, (-1, len(inputs)))  # k b l
        for i, sample in enumerate(data_samples):
            sample.set_field(regions[:, i], 'region_masks')
            if words is not None:
                sample.set_field(words[:, i], 'word_masks')
        return data_samples

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Dense features of the image segmenter, and CLIP's own where the head mixes them in."""
        trunk = self.backbone.visual.trunk(inputs)
        features = (self.image_segmenter(trunk),)
        if self.decode_head.knowledge_preserving is not None:
            features += (self.backbone.visual.dense(trunk),)
        return features

    @torch.no_grad()
    def set_class_names(self, names: Sequence[str]) -> None:
        """Look for these classes, embedded with the learnt contexts as they are now."""
        head, text, prompt = self.decode_head, self.backbone.text, self.noun_prompt
        embed = partial(embed_phrases, text=text, prompt=prompt, templates=head.templates)
        head.embed_and_set(names, text, embed, [] if prompt is None else [prompt])
        self._take_over_class_count()

    def _region_losses(
        self, regions: RegionMasks, nouns: Tensor, region_embed: Tensor
    ) -> dict[str, Tensor]:
        pooled = masked_pooling(regions.features, regions.soft_all)  # b m c
        pooled = pooled.repeat(len(nouns) // len(pooled), 1, 1)  # n m c
        return dict(
            region_feature=self._loss('region_feature', pooled, nouns),
            region_image=self._loss('region_image', region_embed, nouns),
            feature_variation=self._loss('feature_variation', regions.features),
            mask_variation=self._loss('mask_variation', regions.soft_all),
            area=self._loss('area', regions.soft),
            negative_area=self._loss('negative_area', regions.negative_mean()),
        )

    def _loss(self, name: str, *args: Tensor) -> Tensor | None:
        return self.losses[name](*args) if name in self.losses else None

    def _init_decode_head(self, decode_head: dict) -> None:
        super()._init_decode_head({'in_channels': self.backbone.embed_dim, **decode_head})
