"""Which nouns of the caption are learned now."""

import numpy as np
from mmcv.transforms import BaseTransform

from code_mm.registry import TRANSFORMS
from code_mm.structures.unusable_sample import UnusableSample


@TRANSFORMS.register_module()
class SelectNouns(BaseTransform):
    """Draw some of the caption's nouns (thesis §3.1), without replacement, anew on every visit.

    A caption with too few of them is an :class:`UnusableSample`.

    Required Keys:

    - caption (str), nouns (list[str])

    Added Keys:

    - selected_nouns (list[str]): ``num_nouns`` (k) of them, in random order
    """

    def __init__(self, num_nouns: int = 2) -> None:
        if num_nouns < 1:
            raise ValueError(f'expected num_nouns >= 1, but got {num_nouns}')
        self.num_nouns = num_nouns

    def transform(self, results: dict) -> dict:
        """Add the drawn nouns; raise UnusableSample where there are too few."""
        if 'nouns' not in results:
            raise KeyError("SelectNouns: expected 'nouns'; put LoadNouns before it in the pipeline")
        nouns = results['nouns']
        if len(nouns) < self.num_nouns:
            raise UnusableSample(
                'few_nouns', f'{nouns} in {results["caption"]!r}, num_nouns={self.num_nouns}'
            )
        # what np.random.choice(replace=False) does, in half the time
        drawn = np.random.permutation(len(nouns))[: self.num_nouns]
        results['selected_nouns'] = [nouns[index] for index in drawn]
        return results
