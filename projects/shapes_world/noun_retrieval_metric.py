"""How well the nouns of an image are retrieved by a CLIP."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric

from code_mm.registry import METRICS


@METRICS.register_module()
class NounRetrievalMetric(BaseMetric):
    """Recall@k of the nouns in an image, k = number of its distinct object nouns.

    Nouns are ranked by their score (cosine with the image); recall is the share of the image's
    nouns among the first k, averaged over images. Chance is the mean of k / number of nouns.
    Unlike in-batch retrieval it does not reward knowing only colours and backgrounds.

    Args:
        nouns (Sequence[str]): Nouns in the order of ``noun_scores``.
        **kwargs: Of mmengine's ``BaseMetric``.
    """

    default_prefix = None

    def __init__(self, nouns: Sequence[str], **kwargs) -> None:
        super().__init__(**kwargs)
        self.nouns = tuple(nouns)

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Take ``noun_scores`` [nouns] and metainfo ``object_nouns`` from each sample.

        Raises:
            ValueError: Scores and nouns differ in number, or an image has no known noun.
        """
        # one result per batch: mmengine cuts results at the length of the dataset, which counts
        # batches where the dataset gives whole ones
        scores = zip(*map(self._score, data_samples), strict=True)
        self.results.append([sum(column) for column in scores])

    def _score(self, sample: dict) -> tuple:
        """Recall, chance, precision at 1 and the count 1 of one image."""
        scores = torch.as_tensor(sample['noun_scores'])
        wanted = {n for n in sample['object_nouns'] if n in self.nouns}
        if len(scores) != len(self.nouns) or not wanted:
            raise ValueError(
                f'expected {len(self.nouns)} noun scores and an image with at least one of '
                f'the nouns, but got {len(scores)} and {sample["object_nouns"]}'
            )
        ranked = [self.nouns[i] for i in scores.argsort(descending=True)[: len(wanted)].tolist()]
        recall = len(wanted.intersection(ranked)) / len(wanted)
        return recall, len(wanted) / len(self.nouns), float(ranked[0] in wanted), 1

    def compute_metrics(self, results: list) -> dict:
        """Average: ``noun_recall``, its ``noun_recall_chance`` and ``noun_precision_at_1``."""
        recall, chance, first, count = (sum(column) for column in zip(*results, strict=True))
        return {
            'noun_recall': recall / count,
            'noun_recall_chance': chance / count,
            'noun_precision_at_1': first / count,
        }
