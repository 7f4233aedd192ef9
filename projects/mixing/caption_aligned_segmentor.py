"""A supervised segmentor that also learns from captions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from code_mm.models.segmentors import ZeroShotSegmentor
from code_mm.registry import MODELS
from code_mm.vocabulary import Vocabulary


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
        co_decomposition (dict): ``CoDecomposition``; class names are embedded as its nouns are.
        image_size (int, optional): Side in pixels to which images are resized for the
            vision-language backbone; None leaves them as they are.
        **kwargs: Those of ``ZeroShotSegmentor``: an ordinary backbone, a ``ZeroShotHead`` with
            ``project=True``, the ``class_names`` of the labels, a ``vision_language_backbone``
            with both towers, auxiliary heads for the labels.
    """

    def __init__(
        self, *args, co_decomposition: dict, image_size: int | None = None, **kwargs
    ) -> None:
        super().__init__(*args, **kwargs)
        self.co_decomposition = MODELS.build({**co_decomposition, 'backbone': self._embedder})
        self.image_size = image_size
        if self.decode_head.channels != self._embedder.embed_dim:
            raise ValueError(
                f'expected a decode_head with embed_dim={self._embedder.embed_dim}, as the '
                f'vision_language_backbone has, but got {self.decode_head.channels}'
            )

    @property
    def noun_prompt(self) -> nn.Module | None:
        """What stands before nouns and class names."""
        return self.co_decomposition.noun_prompt

    @property
    def vocabulary(self) -> Vocabulary:
        """As in ``ZeroShotSegmentor``; in training with the learnt contexts as they are now."""
        contexts = self.noun_prompt.parameters() if self.training and self.noun_prompt else ()
        if any(p.requires_grad for p in contexts):
            self._vocabulary = None
        return super().vocabulary

    def init_weights(self) -> None:
        """Load all parts, start the learnt contexts from the text tower; then the ``init_cfg``."""
        if not self._embedder.is_init:
            self._embedder.init_weights()
        self.co_decomposition.copy_from(self._embedder)
        super().init_weights()

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Losses of labels (``decode.*``, ``aux*.*``) and of captions (``alignment.*``).

        Samples have ``gt_sem_seg``, or what ``PackCaptionInputs`` packs, or both.
        """
        labelled = [i for i, sample in enumerate(data_samples) if 'gt_sem_seg' in sample]
        captioned = [i for i, sample in enumerate(data_samples) if 'caption_ids' in sample]
        for i in set(range(len(data_samples))) - {*labelled, *captioned}:
            meta = data_samples[i].metainfo
            raise ValueError(
                'expected a sample with gt_sem_seg or caption_ids, but '
                f'{meta.get("sample_key") or meta.get("img_path") or "one"} has neither; use '
                'LoadAnnotations, or TokenizeCaption and PackCaptionInputs'
            )
        maps = self.extract_feat(inputs)
        losses = self._label_losses(maps, data_samples, labelled, inputs.shape[-2:])
        fewest = torch.tensor(len(captioned), device=inputs.device)
        all_reduce(fewest, 'min')
        captioned = captioned[: int(fewest)]
        if captioned:
            features = self.decode_head.pixel_embeddings([each[captioned] for each in maps])
            samples = [data_samples[i] for i in captioned]
            images = inputs[captioned]
            if self.image_size is not None:
                size = (self.image_size, self.image_size)
                images = F.interpolate(images, size, mode='bilinear', antialias=True)
            aligned = self.co_decomposition(self._embedder, images, features, samples)
            losses.update({f'alignment.{name}': value for name, value in aligned.items()})
        return losses

    def _label_losses(
        self,
        maps: Sequence[Tensor],
        data_samples: list[SegDataSample],
        labelled: list[int],
        size: torch.Size,
    ) -> dict[str, Tensor]:
        samples = [data_samples[i] for i in labelled]
        maps = [each[labelled or [0]] for each in maps]
        if not labelled:
            nothing = torch.full((1, *size), self.decode_head.ignore_index, device=maps[0].device)
            samples = [SegDataSample(gt_sem_seg=PixelData(data=nothing))]
        losses = self._decode_head_forward_train(maps, samples)
        if self.with_auxiliary_head:
            losses.update(self._auxiliary_head_forward_train(maps, samples))
        # an accuracy of no pixels is none
        return losses if labelled else {k: v for k, v in losses.items() if 'loss' in k}
