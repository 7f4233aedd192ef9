import math

import pytest
import torch
from tiny_model import Step

from code_mm.models.losses import text_segmentation_loss
from code_mm.ops import rank
from code_mm.registry import MODELS


def slow_loss(logits, labels, none_weight=0.5):
    total = weights = 0.0
    for i in range(labels.shape[0]):
        for position in range(labels.shape[1]):
            label = int(labels[i, position])
            if label < 0:
                continue
            case_logits = logits[i, :, position].tolist()
            weight = none_weight if label == 0 else 1.0
            normaliser = math.log(sum(math.exp(x) for x in case_logits))
            total += weight * (normaliser - case_logits[label])
            weights += weight
    return total / weights


@pytest.fixture
def batch():
    torch.manual_seed(0)
    labels = torch.randint(-1, 3, (4, 10))
    labels[1, 3:] = -1
    return torch.randn(4, 3, 10), labels


def test_no_labelled_token_gives_zero_with_a_graph():
    logits = torch.randn(2, 3, 5, requires_grad=True)
    loss = text_segmentation_loss(logits, torch.full((2, 5), -1))
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


@pytest.mark.parametrize('kind', ['noun_tokens', 'argmax'])
def test_pseudo_labels_of_either_kind_are_those_of_words(batch, kind):
    logits, labels = batch
    words = torch.arange(10).expand(4, 10) < 6
    step = Step(captions=Step(token_labels=labels), word_logits=logits, word_positions=words)
    loss = MODELS.build(dict(type='TextSegmentationLoss', pseudo_label=kind))(step)
    labels = labels if kind == 'noun_tokens' else logits.argmax(1)
    assert loss.item() == pytest.approx(slow_loss(logits[..., :6], labels[:, :6]), rel=1e-5)


def _unsynced(logits, labels):
    rows = slice(2 * rank(), 2 * rank() + 2)
    return text_segmentation_loss(logits[rows], labels[rows], sync=False)


def test_without_sync_each_process_normalises_alone(run_in_two_processes, batch):
    results = run_in_two_processes(_unsynced, *batch)
    expected = [slow_loss(batch[0][rows], batch[1][rows]) for rows in (slice(2), slice(2, 4))]
    assert [x.item() for x in results] == pytest.approx(expected, rel=1e-5)


def test_rejects_unknown_labels_and_shapes():
    with pytest.raises(ValueError, match=r"one of .*'argmax'.*but got 'nouns'"):
        MODELS.build(dict(type='TextSegmentationLoss', pseudo_label='nouns'))
    with pytest.raises(ValueError, match=r'labels \[b, l\], but got \(2, 3, 5\) and \(2, 3\)'):
        text_segmentation_loss(torch.zeros(2, 3, 5), torch.zeros(2, 3, dtype=torch.long))
