"""Scoring at the size at which the network sees an image."""

from mmcv.transforms import BaseTransform

from code_mm.registry import TRANSFORMS


@TRANSFORMS.register_module(force=True)
class ScoreAtInputSize(BaseTransform):
    """Let predictions keep the resized image's size, so that resized labels fit them.

    Behind ``LoadAnnotations`` and ``Resize``. Papers score at the labels' own size; some code
    does not.

    Required Keys:

    - img_shape

    Modified Keys:

    - ori_shape
    """

    def transform(self, results: dict) -> dict:
        """Take the resized image for the original one."""
        results['ori_shape'] = results['img_shape'][:2]
        return results
