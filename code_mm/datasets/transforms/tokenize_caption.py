"""Tokenising of a caption and of its drawn nouns, in the loader's workers."""

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from code_mm.nouns.token_labels import token_labels
from code_mm.registry import TOKENIZERS, TRANSFORMS
from code_mm.vocabulary.templates import get_templates


@TRANSFORMS.register_module()
class TokenizeCaption(BaseTransform):
    """Turn the caption, and the nouns drawn by ``SelectNouns`` (if any), into token ids.

    Required Keys:

    - caption (str), nouns (list[str]) and selected_nouns (list[str], k; both optional)

    Added Keys:

    - caption_ids (torch.int64, (l,))
    - token_labels (torch.int64, (l,)): -1 no noun, 0 a noun that was not drawn, j the
      j-th drawn noun (thesis §3.2.2), see ``code_mm.nouns.token_labels``
    - noun_ids (torch.int64, (k, l_noun)): the drawn nouns by themselves
    - guide_ids (torch.int64, (k, l)): each drawn noun in a template drawn at random
    - text_lengths (dict): positions up to the last end token in noun_ids ('noun'), guide_ids
      ('guide') and caption_ids ('caption'), by which a batch is cut to its longest text

    Args:
        context_length (int): Positions l of the text tower.
        noun_context_length (int): Positions l_noun for a noun by itself: those of the tower
            without the learnable contexts of the noun prompt (77 - 16).
        guide_templates (str | Sequence[str]): 'imagenet' (80 sentences), another name, or
            sentences with one ``{}`` each, for a domain of one's own.
        tokenizer (dict, optional): The backbone's, ``CLIPTokenizer`` by default.
    """

    def __init__(
        self,
        context_length: int = 77,
        noun_context_length: int = 61,
        guide_templates: str | Sequence[str] = 'imagenet',
        tokenizer: dict | None = None,
    ) -> None:
        if min(context_length, noun_context_length) < 3:
            raise ValueError(
                'expected context_length and noun_context_length >= 3 (start, a token, end), but '
                f'got {context_length} and {noun_context_length}'
            )
        self.context_length, self.noun_context_length = context_length, noun_context_length
        self.tokenizer = TOKENIZERS.build(tokenizer or dict(type='CLIPTokenizer'))
        self._templates = get_templates(guide_templates)

    def transform(self, results: dict) -> dict:
        """Add the ids and labels."""
        selected, tokenize = results.get('selected_nouns', []), self.tokenizer.tokenize
        drawn = [self._templates[np.random.randint(len(self._templates))] for _ in selected]
        guides = [t.replace('{}', noun) for t, noun in zip(drawn, selected, strict=True)]
        # One tensor for both, as each tensor a worker sends costs a file descriptor.
        ids = tokenize([results['caption'], *guides], self.context_length)
        results['caption_ids'] = ids[0]
        if selected:
            results['guide_ids'] = ids[1:]
            results['noun_ids'] = tokenize(selected, self.noun_context_length)
            nouns = results['nouns']
            results['token_labels'] = token_labels(ids[0], nouns, selected, self.tokenizer)
            texts = dict(noun=results['noun_ids'], guide=ids[1:], caption=ids[:1])
            lengths = self.tokenizer.text_lengths
            results['text_lengths'] = {name: int(lengths(t).max()) for name, t in texts.items()}
        return results
