"""How often word masks give a word to the noun that it names or describes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from code_mm.registry import METRICS
from code_mm.tokenizers import CLIPTokenizer


@METRICS.register_module()
class WordMaskAccuracy(BaseMetric):
    """Accuracy of word masks where it is known which word belongs to which noun.

    Every word of a caption has an owner: the noun that it names or describes ("striped" and
    "star" belong to star), or none. With k selected nouns there are k + 1 cases (thesis Eq. 3.3);
    words of nouns that were not selected belong to "none". A word is right where its most
    probable case, averaged over its tokens, is its own.

    Args:
        ann_file (str): jsonl with ``caption`` and ``words``, rows [word, start, end, owner], as
            the shapes world's ``captions_validation.jsonl``.
        **kwargs: Of MMEngine's ``BaseMetric``.

    Returns (of ``evaluate``):
        dict, fractions in [0, 1]: ``word_accuracy`` over all words; ``word_accuracy_none``, what
        "none" everywhere would get; ``attribute_accuracy`` over the words that describe a selected
        noun without naming it, which no pseudo label points at.

    Raises:
        ValueError: A row has no words, or two rows own the words of one caption differently.
    """

    default_prefix = None

    def __init__(self, ann_file: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.ann_file = ann_file
        self._words = _read_words(Path(ann_file))

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Count the words of samples.

        They have ``word_masks`` [k, l] in [0, 1] and metainfo ``caption`` and ``selected_nouns``.

        Raises:
            ValueError: A caption is not in ``ann_file``, or a sample has no word masks.
        """
        for sample in data_samples:
            if 'word_masks' not in sample:
                raise ValueError(
                    'expected samples with word_masks, as CoDeSegmentor.decompose gives them for '
                    f'a model with a text segmenter, but got {sorted(sample.keys())}'
                )
            if sample['caption'] not in self._words:
                raise ValueError(
                    f'expected a caption of {self.ann_file}, but got {sample["caption"]!r}'
                )
            self.results.append(self._count(sample, self._words[sample['caption']]))

    def _count(self, sample: dict, words: list) -> tuple[int, ...]:
        """(words, right ones, words of no selected noun, attributes, right attributes)."""
        masks = torch.as_tensor(sample['word_masks']).float()
        cases = torch.cat([1 - masks.sum(0, keepdim=True), masks])  # k + 1, l
        selected = list(sample['selected_nouns'])
        counts = torch.zeros(5, dtype=torch.long)
        position = 1  # behind the start token
        for word, _, _, owner in words:
            tokens = slice(position, position + len(CLIPTokenizer().encode(word)))
            position = tokens.stop
            if position >= cases.shape[1]:  # cut off with the caption's end
                break
            truth = selected.index(owner) + 1 if owner in selected else 0
            right = int(cases[:, tokens].mean(dim=1).argmax()) == truth
            attribute = truth > 0 and word != owner
            counts += torch.tensor([1, right, truth == 0, attribute, attribute and right])
        return tuple(counts.tolist())

    def compute_metrics(self, results: list[tuple[int, ...]]) -> dict[str, float]:
        """Divide the counts of all captions."""
        words, right, none, attributes, right_attributes = map(sum, zip(*results, strict=True))
        if not attributes:
            print_log('attribute_accuracy is not defined: no word is one.', logger='current')
        return {
            'word_accuracy': right / words,
            'word_accuracy_none': none / words,
            'attribute_accuracy': right_attributes / attributes if attributes else float('nan'),
        }


def _read_words(path: Path) -> dict[str, list]:
    owners: dict[str, list] = {}
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), start=1):
        row = json.loads(line)
        if 'words' not in row or 'caption' not in row:
            raise ValueError(f'expected caption and words in line {number} of {path}: {line[:80]}')
        if owners.setdefault(row['caption'], row['words']) != row['words']:
            raise ValueError(f'{path}: the words of {row["caption"]!r} have two different owners')
    return owners
