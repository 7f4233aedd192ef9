"""Packing of a caption sample into what MMSegmentation's models take."""

import cv2
import numpy as np
import torch
from mmseg.datasets.transforms import PackSegInputs

from code_mm.registry import TRANSFORMS

CAPTION_FIELDS = ('caption_ids', 'token_labels', 'noun_ids', 'guide_ids')
CAPTION_KEYS = ('sample_key', 'caption', 'nouns', 'selected_nouns', 'text_lengths')
IMAGE_KEYS = ('img_path', 'ori_shape', 'img_shape', 'flip', 'flip_direction')


@TRANSFORMS.register_module()
class PackCaptionInputs(PackSegInputs):
    """Pack image, token ids and caption as ``inputs`` and a ``SegDataSample``.

    ``inputs`` is the image, uint8, (3, H, W), BGR, in pixel values: normalising is
    ``SegDataPreProcessor``'s. The sample's data fields are those of
    ``caption_ids`` (l,), ``token_labels`` (l,), ``noun_ids`` (k, l_noun) and
    ``guide_ids`` (k, l) that there are, int64.

    Required Keys:

    - img
    - caption_ids
    - token_labels, noun_ids, guide_ids (optional), from TokenizeCaption
    - those of the metainfo, ``CAPTION_KEYS`` and ``IMAGE_KEYS`` (optional)

    Args:
        require_caption (bool): False also packs samples without a caption, for a model that learns
            from labelled images beside captioned ones.
    """

    def __init__(self, require_caption: bool = True) -> None:
        super().__init__(meta_keys=CAPTION_KEYS + IMAGE_KEYS)
        self.require_caption = require_caption

    def transform(self, results: dict) -> dict:
        """Pack the sample as ``dict(inputs=image, data_samples=SegDataSample)``."""
        if self.require_caption and 'caption_ids' not in results:
            raise KeyError(
                f'expected caption_ids in the sample, but it has {sorted(results)}; put '
                'TokenizeCaption before PackCaptionInputs, or set require_caption=False'
            )
        packed = super().transform({key: results[key] for key in results if key != 'img'})
        if 'img' in results:
            packed['inputs'] = torch.from_numpy(_planes(results['img']))
        for field in CAPTION_FIELDS:
            if field in results:
                packed['data_samples'].set_field(results[field], field)
        return packed


def _planes(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> (3, H, W); OpenCV does it faster than a transposed copy."""
    if image.ndim != 3 or not image.flags.c_contiguous:
        return np.ascontiguousarray(np.atleast_3d(image).transpose(2, 0, 1))
    planes = np.empty((image.shape[2], *image.shape[:2]), image.dtype)
    cv2.split(image, list(planes))
    return planes
