"""A supervised segmentor that also learns from captions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from mmengine.dist import all_reduce
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from code_mm.registry import MODELS

from .code_parts import embed_phrases
from .region_word_alignment import RegionWordAlignment
from .zero_shot_segmentor import ZeroShotSegmentor


@MODELS.register_module()
class CaptionAlignedSegmentor(ZeroShotSegmentor):
    """Pixel labels where a sample has them, CoDe's region-word alignment where it has a caption.

    A batch may hold labelled images, captioned images, and images that are both, from any number
    of data sets (MMEngine's ``ConcatDataset``). Labels train the head by the names of their
    classes; nouns of a caption are found in the same pixel embeddings, so that captions teach
    words that no label has (thesis §3.3, Eq. 3.7, as an auxiliary loss).

    Distributed training stays in step whatever each process was dealt. All processes align as many
    captions as the one with fewest, since their embeddings are gathered, none if one has none; a
    process without labels computes the label loss of an image whose pixels are all ignored, which
    is zero. Parameters may then be unused: set ``find_unused_parameters=True``.

    Args:
        alignment (dict): ``RegionWordAlignment``. Its text tower embeds the class names too, as
            the nouns are.
        **kwargs: Those of ``ZeroShotSegmentor``: an ordinary backbone, a ``ZeroShotHead`` with
            ``project=True``, the ``class_names`` of the labels and no text tower of its own,
            auxiliary heads for the labels.

    Raises:
        TypeError: ``alignment`` is something else.
        ValueError: Head and alignment do not go together.
    """

    def __init__(self, *args, alignment: dict, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.alignment = MODELS.build(alignment)
        if not isinstance(self.alignment, RegionWordAlignment):
            raise TypeError(
                'expected an alignment of type RegionWordAlignment, but got '
                f'{type(self.alignment).__name__}'
            )
        head, channels = self.decode_head, self.alignment.backbone.embed_dim
        if head.channels != channels:
            raise ValueError(
                f'expected a decode_head with embed_dim={channels}, as the CLIP of the alignment '
                f'has, but got {head.channels}'
            )
        if head.text_encoder is not None:
            raise ValueError(
                'expected a decode_head without text_encoder, since class names are embedded as '
                'the nouns of captions are; leave it out'
            )

    @property
    def losses(self) -> nn.ModuleDict:
        """The alignment's losses by name, for ``TrainingStagesHook``."""
        return self.alignment.losses

    @property
    def noun_prompt(self) -> nn.Module | None:
        """What stands before nouns and class names, for ``ProtocolHook``."""
        return self.alignment.noun_prompt

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Losses of labels (``decode.*``, ``aux*.*``) and of captions (``alignment.*``).

        Args:
            inputs (Tensor): Normalised images [b, 3, H, W].
            data_samples (list[SegDataSample]): With ``gt_sem_seg``, or what ``PackCaptionInputs``
                packs, or both.
        """
        labelled = [i for i, sample in enumerate(data_samples) if 'gt_sem_seg' in sample]
        captioned = [i for i, sample in enumerate(data_samples) if 'caption_ids' in sample]
        self._check_samples(data_samples, {*labelled, *captioned})
        maps = self.extract_feat(inputs)
        losses = self._label_losses(maps, data_samples, labelled, inputs.shape[-2:])
        captioned = captioned[: self._fewest(len(captioned), inputs.device)]
        if captioned:
            features = self.decode_head.pixel_embeddings(_take(maps, captioned))
            samples = [data_samples[i] for i in captioned]
            aligned = self.alignment.loss(inputs[captioned], samples, features)
            losses.update({f'alignment.{name}': value for name, value in aligned.items()})
        return losses

    @torch.no_grad()
    def set_class_names(self, names: Sequence[str]) -> None:
        """Look for these classes, embedded by the alignment's text tower as its nouns are."""
        modules = [] if self.noun_prompt is None else [self.noun_prompt]
        text = self.alignment.backbone.text
        self.decode_head.embed_and_set(names, text, self._embed_phrases, modules)
        self._take_over_class_count()

    @property
    def _embed_phrases(self) -> partial:
        return partial(
            embed_phrases,
            text=self.alignment.backbone.text,
            prompt=self.noun_prompt,
            templates=self.decode_head.templates,
        )

    def _label_losses(
        self,
        maps: Sequence[Tensor],
        data_samples: list[SegDataSample],
        labelled: list[int],
        size: torch.Size,
    ) -> dict[str, Tensor]:
        self._embed_training_classes()
        samples = [data_samples[i] for i in labelled]
        maps = _take(maps, labelled or [0])
        if not labelled:
            nothing = torch.full((1, *size), self.decode_head.ignore_index, device=maps[0].device)
            samples = [SegDataSample(gt_sem_seg=PixelData(data=nothing))]
        losses = self._decode_head_forward_train(maps, samples)
        if self.with_auxiliary_head:
            losses.update(self._auxiliary_head_forward_train(maps, samples))
        # an accuracy of no pixels is none
        return losses if labelled else {k: v for k, v in losses.items() if 'loss' in k}

    @torch.no_grad()
    def _embed_training_classes(self) -> None:
        """Embed the labels' names with the learnt contexts as they are now."""
        head, prompt = self.decode_head, self.noun_prompt
        if not head.class_names:
            raise ValueError(
                'expected decode_head.class_names, the names of the training labels, but got none'
            )
        moves = prompt is not None and any(p.requires_grad for p in prompt.parameters())
        if moves or head.class_embeddings is None:
            embeddings = self._embed_phrases(head.phrases(head.class_names))
            head.set_class_embeddings(head.class_names, embeddings)

    @staticmethod
    def _fewest(count: int, device: torch.device) -> int:
        fewest = torch.tensor(count, device=device)
        all_reduce(fewest, 'min')
        return int(fewest)

    @staticmethod
    def _check_samples(data_samples: list[SegDataSample], useful: set[int]) -> None:
        for i, sample in enumerate(data_samples):
            if i not in useful:
                key = sample.metainfo.get('sample_key') or sample.metainfo.get('img_path')
                raise ValueError(
                    f'expected a sample with gt_sem_seg or caption_ids, but {key or "one"} has '
                    'neither; use LoadAnnotations, or TokenizeCaption and PackCaptionInputs'
                )


def _take(maps: Sequence[Tensor], rows: list[int]) -> list[Tensor]:
    return [each[rows] for each in maps]
