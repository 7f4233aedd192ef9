"""Any mmseg encoder-decoder with a post-processor that looks at the image."""

from __future__ import annotations

from torch import Tensor

from code_mm.registry import MODELS

from .windowed_encoder_decoder import WindowedEncoderDecoder


@MODELS.register_module()
class PostProcessedSegmentor(WindowedEncoderDecoder):
    """mmseg's ``EncoderDecoder`` with e.g. PAMR after the decode head.

    Logits become class probabilities before they are refined (PAMR averages neighbours, which is
    meant for probabilities); training is untouched.

    Args:
        post_processor (dict): A module called with image [b, 3, H, W] and masks [b, n, H, W],
            e.g. ``dict(type='PAMR')``.
        **kwargs: Those of ``WindowedEncoderDecoder``, whose ``test_cfg`` bounds memory.
    """

    def __init__(self, *args, post_processor: dict, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.post_processor = MODELS.build(post_processor)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Refined class probabilities (a logit for one class) [b, classes, H, W] of windows."""
        logits = super().encode_decode(inputs, batch_img_metas)
        if logits.shape[1] > 1:
            return self.post_processor(inputs, logits.softmax(dim=1))
        # mmseg takes the sigmoid of a single plane afterwards, so that one goes back to a logit.
        return self.post_processor(inputs, logits.sigmoid()).logit(eps=1e-6)
