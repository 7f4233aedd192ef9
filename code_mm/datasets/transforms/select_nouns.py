"""The noun selector as a transform: which nouns of the caption are learned now."""

import numpy as np
from mmcv.transforms import BaseTransform

from code_mm.nouns.noun_selector import NounSelector
from code_mm.registry import TRANSFORMS
from code_mm.structures.unusable_sample import UnusableSample


@TRANSFORMS.register_module()
class SelectNouns(BaseTransform):
    """Find the nouns of the caption and draw some of them (thesis §3.1).

    They are drawn without replacement and anew on every visit. Nouns that came with
    the sample are used as they are; otherwise the caption is tagged. A caption with
    too few of them is an :class:`UnusableSample`, which the caption datasets count
    and replace.

    Required Keys:

    - caption (str)
    - nouns (list[str], optional)

    Added Keys:

    - nouns (list[str]): all nouns, in the order of the caption
    - selected_nouns (list[str]): ``num_nouns`` of them, in random order

    Args:
        num_nouns: nouns per caption and visit, ``k``.
        tagger: 'auto' (NLTK where its data are on the machine, else TextBlob),
            'nltk' or 'textblob'; a log line says which is in use.
        word_type: 'noun' (single words) or 'noun_phrase'.
    """

    def __init__(self, num_nouns: int = 2, tagger: str = 'auto', word_type: str = 'noun') -> None:
        if num_nouns < 1:
            raise ValueError(f'expected num_nouns >= 1, but got {num_nouns}')
        self.num_nouns = num_nouns
        self.tagger = tagger
        self.word_type = word_type
        self._nouns_of = NounSelector(tagger, word_type)

    def transform(self, results: dict) -> dict:
        """Add all nouns and the drawn ones; raise UnusableSample where there are too few."""
        if 'nouns' not in results:
            results['nouns'] = self._nouns_of(results['caption'])
        nouns = results['nouns']
        if len(nouns) < self.num_nouns:
            raise UnusableSample(
                'few_nouns', f'{nouns} in {results["caption"]!r}, num_nouns={self.num_nouns}'
            )
        # what np.random.choice(replace=False) does, in half the time
        drawn = np.random.permutation(len(nouns))[: self.num_nouns]
        results['selected_nouns'] = [nouns[index] for index in drawn]
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(num_nouns={self.num_nouns}, tagger={self.tagger!r}, '
            f'word_type={self.word_type!r})'
        )
