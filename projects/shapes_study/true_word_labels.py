"""An oracle for the text segmenter: the true owner of every word, not only of the nouns.

The shapes world's grammar is known, so what a better text segmenter could bring can be measured.
"""

import re

from mmcv.transforms import BaseTransform

from code_mm.datasets.shapes_world.captions import CAPTION_WORDS
from code_mm.datasets.shapes_world.vocabulary import BACKGROUNDS, COLOURS, NOUNS, TEXTURES
from code_mm.registry import TRANSFORMS
from code_mm.tokenizers import CLIPTokenizer

_NAMES = {*NOUNS, *BACKGROUNDS}
_ADJECTIVES = {*COLOURS, *TEXTURES, 'small', 'big', 'little', 'large'}
_KNOWN = {word for text in CAPTION_WORDS for word in text.split()}


@TRANSFORMS.register_module()
class TrueWordLabels(BaseTransform):
    """Label every word of a caption of the shapes world with the noun that owns it.

    Required keys: caption, selected_nouns, token_labels (of ``TokenizeCaption``).
    Modified key: token_labels (int64, (l,)): j for words that name or describe the j-th
    selected noun, 0 for all other words, -1 for start, end and padding.
    """

    def transform(self, results: dict) -> dict:
        """Relabel; a word that the shapes world does not use is a ValueError."""
        labels = results['token_labels'].new_full(results['token_labels'].shape, -1)
        selected = results['selected_nouns']
        position = 1  # behind the start token
        for word, owner in owners(results['caption']):
            end = position + len(CLIPTokenizer().encode(word))
            if end >= len(labels):  # the end token needs a place, too
                break
            labels[position:end] = selected.index(owner) + 1 if owner in selected else 0
            position = end
        results['token_labels'] = labels
        return results


def owners(caption: str) -> list[tuple[str, str | None]]:
    """(word, noun that it names or describes) of every word; adjectives belong to the next noun."""
    found: list[tuple[str, str | None]] = []
    noun = None
    for word in reversed(re.findall(r'\w+|[.,]', caption)):
        if word not in _KNOWN:
            raise ValueError(
                f'expected a caption of the shapes world, but {word!r} is not its word'
            )
        noun = word if word in _NAMES else noun
        found.append((word, noun if word in _ADJECTIVES or word in _NAMES else None))
    return found[::-1]
