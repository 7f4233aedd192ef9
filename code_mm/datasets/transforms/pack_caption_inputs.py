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
    ``SegDataPreProcessor``'s.

    Required Keys:

    - img
    - caption_ids (l,), and optionally token_labels (l,), noun_ids (k, l_noun), guide_ids (k, l),
      int64, from TokenizeCaption: they become data fields
    - those of ``CAPTION_KEYS`` and ``IMAGE_KEYS`` (optional): they become metainfo

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
            # ten times as fast as a transposed copy
            planes = cv2.split(np.ascontiguousarray(results['img']))
            packed['inputs'] = torch.from_numpy(np.stack(planes))
        for field in CAPTION_FIELDS:
            if field in results:
                packed['data_samples'].set_field(results[field], field)
        return packed
