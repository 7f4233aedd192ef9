"""A mmseg segmentor whose classes are named at evaluation time."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor

from code_mm.ops import crop, pad_to_multiple
from code_mm.registry import MODELS
from code_mm.weights.model_weights import refuse_random_weights, watch_loading

from ..heads import ZeroShotHead
from .label_map import restore
from .windowed_encoder_decoder import WindowedEncoderDecoder


@MODELS.register_module()
class ZeroShotSegmentor(WindowedEncoderDecoder):
    """mmseg's ``EncoderDecoder`` around a ``ZeroShotHead``.

    Beside what ``EncoderDecoder`` does, it pads windows to whole patches, hands the image to the
    head (which PAMR needs) and takes class names. With a ``CLIPImageEncoder`` as backbone and no
    training it is MaskCLIP.

    Args:
        size_divisor (int, optional): Images are zero-padded symmetrically to a multiple of this
            many pixels; the backbone's ``patch_size`` by default, 1 if it has none.
        **kwargs: Those of ``WindowedEncoderDecoder``, whose ``test_cfg`` bounds memory.
    """

    def __init__(self, *args, size_divisor: int | None = None, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if not isinstance(self.decode_head, ZeroShotHead):
            raise TypeError(
                f'expected a decode_head of type ZeroShotHead, but got '
                f'{type(self.decode_head).__name__}; use EncoderDecoder, or PostProcessedSegmentor '
                'for a post-processor'
            )
        self.size_divisor = size_divisor or getattr(self.backbone, 'patch_size', 1)
        watch_loading(self.backbone)

    def set_class_names(self, names: Sequence[str]) -> None:
        """Look for these classes from now on ('background' first where there is one)."""
        self.decode_head.set_class_names(names)
        self._take_over_class_count()

    def set_background_threshold(self, threshold: float | None) -> None:
        """Set the background's score in (0, 1), or None; class names must be set afterwards."""
        self.decode_head.set_background_threshold(threshold)

    def set_name_scores(self, name_scores: dict | None) -> None:
        """Set how cosines of whole images become class scores, see ``ZeroShotHead``."""
        self.decode_head.set_name_scores(name_scores)

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Label images, see ``WindowedEncoderDecoder``.

        Raises:
            RuntimeError: The backbone's ``init_cfg`` names weights, but nothing was loaded.
        """
        refuse_random_weights(self.backbone)
        if self.decode_head.name_scores is None:
            return super().predict(inputs, data_samples)
        return EncoderDecoder.predict(self, inputs, data_samples)  # needs whole images

    def postprocess_result(
        self, seg_logits: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Labels (and scores, see ``keep_scores``) of the original images."""
        name_scores = self.decode_head.name_scores
        if name_scores is None:
            return super().postprocess_result(seg_logits, data_samples)
        data_samples = data_samples or [SegDataSample() for _ in seg_logits]
        for cosines, sample in zip(seg_logits, data_samples, strict=True):
            whole = restore(cosines, sample.metainfo)[None].contiguous()
            size = tuple(sample.metainfo.get('ori_shape', whole.shape[-2:]))
            whole = F.interpolate(
                whole, size=size, mode='bilinear', align_corners=self.align_corners
            )
            (scores,) = name_scores(whole, self.decode_head)
            sample.pred_sem_seg = PixelData(data=scores.argmax(dim=0, keepdim=True))
            if self.prediction_settings.keep_scores:
                sample.seg_logits = PixelData(data=scores)
        return data_samples

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Scores of windows [b, 3, H, W] -> [b, classes, H, W].

        The class names are embedded first where that is still to do.
        """
        if self.decode_head.class_embeddings is None:
            # mmseg's init_model leaves the data set's class names here.
            from_data = (getattr(self, 'dataset_meta', None) or {}).get('classes')
            names = self.decode_head.class_names or from_data
            if names:
                self.set_class_names(names)
        padded, padding = pad_to_multiple(inputs, self.size_divisor)
        scores = self.decode_head.predict(
            self.extract_feat(padded),
            [dict(img_shape=tuple(padded.shape[-2:]))],
            self.test_cfg,
            image=padded,
        )
        return crop(scores, padding)

    def train(self, mode: bool = True) -> ZeroShotSegmentor:
        """Switch the mode; class embeddings do not outlive a change of the weights.

        Training goes on with the class names of the config, where it has any.
        """
        if mode:
            self.decode_head.return_to_training_classes()
        return super().train(mode)

    def _take_over_class_count(self) -> None:
        self.num_classes = self.decode_head.num_classes
        self.out_channels = self.decode_head.out_channels
