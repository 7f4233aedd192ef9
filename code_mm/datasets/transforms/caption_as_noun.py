"""The whole caption in place of a noun, as a transform."""

from mmcv.transforms import BaseTransform

from code_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class CaptionAsNoun(BaseTransform):
    """Let the model learn from the whole caption, in place of ``SelectNouns``.

    The caption becomes the one "noun" of its image (k = 1): the caption-level supervision of TCL
    (Cha et al., CVPR 2023). No caption is skipped for having too few nouns. Give
    ``TokenizeCaption`` a ``noun_context_length`` of all positions; longer captions are cut.

    Required Keys:

    - caption (str)

    Added Keys:

    - nouns (list[str]): the caption
    - selected_nouns (list[str]): the caption
    """

    def transform(self, results: dict) -> dict:
        """Add the caption as the only noun."""
        results['nouns'] = [results['caption']]
        results['selected_nouns'] = [results['caption']]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
