"""A mmseg segmentor whose classes are named, at evaluation time or as those of its labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import Tensor, nn

from code_mm.ops import crop, pad_to_multiple
from code_mm.registry import MODELS
from code_mm.vocabulary import (
    Vocabulary,
    embed_vocabulary,
    get_templates,
    split_names,
    tokenize_phrases,
)
from code_mm.weights.model_weights import refuse_random_weights, watch_loading
from code_mm.weights.segmentor_layouts import rename_own_on_loading

from ..backbones import VisionLanguageBackbone
from ..heads import ZeroShotHead
from .prediction import WindowedPrediction, restore


@MODELS.register_module()
class ZeroShotSegmentor(WindowedPrediction, EncoderDecoder):
    """mmseg's ``EncoderDecoder`` around a ``ZeroShotHead``, on any backbone.

    Class names come from :meth:`set_class_names` (see ``ClassNamesHook``), the data set's metainfo
    or ``class_names``. They are embedded when first needed after names were set, weights were
    loaded or moved, or the model changed between training and evaluation.

    With a ``CLIP`` as backbone and no training it is MaskCLIP.

    Args:
        vision_language_backbone (dict, optional): Its text tower embeds the class names, e.g.
            ``dict(type='CLIP', image_tower=False)``; ``backbone`` itself by default.
        class_names (Sequence[str], optional): Class names, 'background' first if there is one;
            'car|automobile' gives synonyms. Where the head is trained on pixel labels, these are
            the labels' names, to which it returns after every validation.
        templates (str | Sequence[str]): Templates of the class names, see ``get_templates``.
        raw_template_mean (bool): Average the templates' embeddings as they are, like TCL's release;
            by default each is brought to unit length first.
        background_threshold (float, optional): Score of a constant background plane in front, in
            (0, 1). The first class name must then be 'background'.
        size_divisor (int, optional): Images are zero-padded symmetrically to a multiple of this
            many pixels; the backbone's ``patch_size`` by default, 1 if it has none.
        **kwargs: Those of ``EncoderDecoder``; ``test_cfg`` as in ``PredictionSettings``.
    """

    def __init__(
        self,
        *args,
        vision_language_backbone: dict | None = None,
        class_names: Sequence[str] | None = None,
        templates: str | Sequence[str] = 'custom',
        raw_template_mean: bool = False,
        background_threshold: float | None = None,
        size_divisor: int | None = None,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        if not isinstance(self.decode_head, ZeroShotHead):
            raise TypeError(
                f'expected a decode_head of type ZeroShotHead, but got '
                f'{type(self.decode_head).__name__}; use WindowedEncoderDecoder for others'
            )
        if vision_language_backbone is not None:
            self.vision_language_backbone = MODELS.build(vision_language_backbone)
        if not isinstance(self._embedder, VisionLanguageBackbone):
            raise TypeError(
                'expected a vision_language_backbone to embed class names, since '
                f'{type(self.backbone).__name__} has no text tower; add one, e.g. '
                "dict(type='CLIP', image_tower=False)"
            )
        self.templates, self.raw_template_mean = get_templates(templates), raw_template_mean
        self.size_divisor = size_divisor or getattr(self.backbone, 'patch_size', 1)
        self._of_labels = class_names, background_threshold
        self._vocabulary: Vocabulary | None = None
        self.class_names, self.background_threshold = None, _checked(background_threshold)
        if class_names is not None:  # a subclass has no noun prompt yet that names must fit
            split_names(class_names, background_threshold is not None)
            self._name_classes(class_names)
        watch_loading(self.backbone)
        watch_loading(self._embedder)
        rename_own_on_loading(self)

    @property
    def noun_prompt(self) -> nn.Module | None:
        """What stands before class names, None for templates."""
        return None

    @property
    def similarity_to_mask(self) -> nn.Module:
        """Scale and bias with which cosines become masks."""
        return self.decode_head.similarity_to_mask

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes that are looked for, embedded when first asked for."""
        if self._vocabulary is None:
            if self.class_names is None:
                # mmseg's init_model leaves the data set's class names here.
                names = (getattr(self, 'dataset_meta', None) or {}).get('classes')
                if not names:
                    raise RuntimeError(
                        'no class names are known; add ClassNamesHook to custom_hooks, set '
                        'model.class_names, or call model.set_class_names([...])'
                    )
                self.set_class_names(names)
            mix = self.decode_head.knowledge_preserving
            self._vocabulary = embed_vocabulary(
                self.class_names,
                self._embedder,
                self.noun_prompt,
                self.templates,
                self.background_threshold,
                mix and mix.templates,
                self.raw_template_mean,
            )
        return self._vocabulary

    def set_class_names(self, names: Sequence[str]) -> None:
        """Look for these classes from now on ('background' first where there is a threshold).

        Raises a ValueError as :func:`split_names`, or where a name is too long for the text tower.
        """
        synonyms = split_names(names, self.background_threshold is not None)
        phrases = [phrase for of_class in synonyms for phrase in of_class]
        tokenize_phrases(phrases, self._embedder, self.noun_prompt, self.templates)
        self._name_classes(names)

    def _name_classes(self, names: Sequence[str]) -> None:
        self.class_names, self._vocabulary = tuple(names), None
        for part in (self, self.decode_head):
            part.num_classes = part.out_channels = len(self.class_names)

    def set_background_threshold(self, threshold: float | None) -> None:
        """Set the background's score in (0, 1), or None; class names must be set afterwards.

        They are forgotten where a plane appears or goes, since only names with one begin with
        'background'.
        """
        if (_checked(threshold) is None) != (self.background_threshold is None):
            self.class_names = None
        self.background_threshold, self._vocabulary = threshold, None

    def set_name_scores(self, name_scores: dict | None) -> None:
        """Set how cosines of whole images become class scores, see ``ZeroShotHead``."""
        self.decode_head.set_name_scores(name_scores)

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Label images, see ``WindowedPrediction``; a RuntimeError where named weights lack."""
        refuse_random_weights(self.backbone)
        refuse_random_weights(self._embedder)
        if self.decode_head.name_scores is None:
            return super().predict(inputs, data_samples)
        return EncoderDecoder.predict(self, inputs, data_samples)  # needs whole images

    def postprocess_result(
        self, seg_logits: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """As ``WindowedPrediction``; ``name_scores`` come last, and may ``decide(scores)``."""
        name_scores = self.decode_head.name_scores
        if name_scores is None:
            return super().postprocess_result(seg_logits, data_samples)
        data_samples = data_samples or [SegDataSample() for _ in seg_logits]
        for cosines, sample in zip(seg_logits, data_samples, strict=True):
            whole = restore(cosines, sample.metainfo)[None].contiguous()
            size = sample.metainfo.get('ori_shape', whole.shape[2:])
            whole = F.interpolate(whole, size, mode='bilinear', align_corners=self.align_corners)
            scores = name_scores(whole, self.vocabulary, self.similarity_to_mask)
            sample.pred_sem_seg = PixelData(data=self.decide(scores))
            if self.prediction_settings.keep_scores:
                sample.seg_logits = PixelData(data=scores[0])
        return data_samples

    def decide(self, scores: Tensor) -> Tensor:
        """Labels [b, H, W] of scores [b, classes, H, W]: the best, or by ``name_scores``."""
        own = getattr(self.decode_head.name_scores, 'decide', None)
        return own(scores) if own else scores.argmax(dim=1)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Scores of windows [b, 3, H, W] -> [b, classes, H, W]."""
        vocabulary = self.vocabulary
        padded, padding = pad_to_multiple(inputs, self.size_divisor)
        maps = self.extract_feat(padded)
        scores = self.decode_head.predict(maps, vocabulary, padded, self.similarity_to_mask)
        return crop(scores, padding)

    def train(self, mode: bool = True) -> ZeroShotSegmentor:
        """Switch the mode; training goes on with the class names of the config, if it has any."""
        if mode != self.training:
            self._vocabulary = None
            if mode and self._of_labels[0] is not None:
                self.background_threshold = self._of_labels[1]
                self.set_class_names(self._of_labels[0])
        return super().train(mode)

    def _forward(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> Tensor:
        """Logits on the mask grid [b, classes, h, w], of ``mode='tensor'``."""
        maps = self.extract_feat(inputs)
        return self.decode_head(maps, self.vocabulary, self.similarity_to_mask)

    @property
    def _embedder(self) -> nn.Module:
        return getattr(self, 'vision_language_backbone', self.backbone)

    def _decode_head_forward_train(
        self, inputs: Sequence[Tensor], data_samples: list[SegDataSample]
    ) -> dict[str, Tensor]:
        if self.class_names is None:
            raise ValueError('expected class_names, the names of the training labels; got none')
        logits = self.decode_head(inputs, self.vocabulary)
        return add_prefix(self.decode_head.loss_by_feat(logits, data_samples), 'decode')

    def _apply(self, *args, **kwargs) -> ZeroShotSegmentor:
        self._vocabulary = None  # it stays on the device, and of the type, that it was made on
        return super()._apply(*args, **kwargs)

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._vocabulary = None  # it was made with the weights before


def _checked(threshold: float | None) -> float | None:
    if threshold is not None and not 0 < threshold < 1:
        raise ValueError(f'expected a background_threshold in (0, 1), but got {threshold}')
    return threshold
