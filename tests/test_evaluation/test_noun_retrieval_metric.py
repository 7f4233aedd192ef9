import pytest

from code_mm.evaluation import NounRetrievalMetric

NOUNS = ['star', 'heart', 'boat', 'fish']


def _sample(scores, nouns):
    return {'noun_scores': scores, 'object_nouns': nouns}


def test_recall_by_hand():
    metric = NounRetrievalMetric(NOUNS)
    metric.process(None, [_sample([0.9, 0.1, 0.8, 0.2], ['star', 'fish'])])  # 1 of 2, first right
    metric.process(
        None,
        [
            _sample([0.1, 0.9, 0.0, 0.2], ['boat']),  # 0 of 1
            _sample([0.3, 0.2, 0.1, 0.9], ['star', 'fish', 'heart', 'grass']),  # 3 of 3
        ],
    )
    assert metric.evaluate(size=3) == pytest.approx(
        {
            'noun_recall': (0.5 + 0 + 1) / 3,
            'noun_recall_chance': (2 / 4 + 1 / 4 + 3 / 4) / 3,
            'noun_precision_at_1': 2 / 3,
        }
    )


def test_images_count_alike_whatever_the_batches():
    whole, parts = NounRetrievalMetric(NOUNS), NounRetrievalMetric(NOUNS)
    samples = [_sample([0.9, 0.1, 0.8, 0.2], [noun]) for noun in NOUNS]
    whole.process(None, samples)
    for sample in samples:
        parts.process(None, [sample])
    # a dataset of whole batches has the length 1 here, one of images the length 4
    assert whole.evaluate(size=1) == parts.evaluate(size=4)


def test_mistakes_are_named():
    metric = NounRetrievalMetric(NOUNS)
    with pytest.raises(ValueError, match=r'expected 4 noun scores .* but got 3'):
        metric.process(None, [_sample([0.1, 0.2, 0.3], ['star'])])
    with pytest.raises(ValueError, match='at least one of the nouns'):
        metric.process(None, [_sample([0.1, 0.2, 0.3, 0.4], ['grass'])])
