"""mmseg's ``EncoderDecoder`` with batched windows, bounded memory and a post-processor."""

from __future__ import annotations

from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor

from code_mm.registry import MODELS

from .prediction import WindowedPrediction


@MODELS.register_module()
class WindowedEncoderDecoder(WindowedPrediction, EncoderDecoder):
    """Any of mmseg's encoder-decoders, trained as there, predicting in bounded memory.

    Args:
        post_processor (dict, optional): Refines class probabilities by the image, e.g.
            ``dict(type='PAMR')``: a module called with image [b, 3, H, W] and masks [b, n, H, W].
            Logits become probabilities first, since PAMR averages neighbours.
        **kwargs: Those of ``EncoderDecoder``; ``test_cfg`` as in ``PredictionSettings``.
    """

    def __init__(self, *args, post_processor: dict | None = None, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.post_processor = post_processor and MODELS.build(post_processor)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits of windows [b, classes, H, W]; refined probabilities with a post-processor."""
        logits = super().encode_decode(inputs, batch_img_metas)
        if self.post_processor is None:
            return logits
        if logits.shape[1] > 1:
            return self.post_processor(inputs, logits.softmax(dim=1))
        # mmseg takes the sigmoid of a single plane afterwards, so that one goes back to a logit.
        return self.post_processor(inputs, logits.sigmoid()).logit(eps=1e-6)
