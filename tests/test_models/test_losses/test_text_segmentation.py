import math

import pytest
import torch

from code_mm.models.losses import text_segmentation_loss
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
    logits = torch.randn(4, 3, 10)
    labels = torch.randint(-1, 3, (4, 10))
    labels[0] = -1
    labels[1, 3:] = -1  # the two halves of the batch have unlike numbers of labels
    return logits, labels


@pytest.mark.parametrize('none_weight', [0.5, 1.0, 0.0])
def test_equals_loops(batch, none_weight):
    loss = text_segmentation_loss(*batch, none_weight=none_weight)
    assert loss.item() == pytest.approx(slow_loss(*batch, none_weight), rel=1e-5)


def test_no_labelled_token_gives_zero_with_a_graph():
    logits = torch.randn(2, 3, 5, requires_grad=True)
    loss = text_segmentation_loss(logits, torch.full((2, 5), -1))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.eq(0).all()


def test_argmax_labels_every_word_by_its_most_probable_case(batch):
    logits, labels = batch
    words = torch.arange(10).expand(4, 10) < 6
    module = MODELS.build(dict(type='TextSegmentationLoss', pseudo_label='argmax', loss_weight=2.0))
    expected = slow_loss(logits, logits.argmax(1))
    assert module(logits, labels).item() == pytest.approx(2 * expected, rel=1e-5)
    expected = slow_loss(logits[..., :6], logits[..., :6].argmax(1))
    assert module(logits, labels, words).item() == pytest.approx(2 * expected, rel=1e-5)


def test_noun_tokens_is_the_default_and_is_weighed(batch):
    module = MODELS.build(dict(type='TextSegmentationLoss', loss_weight=3.0))
    assert module(*batch).item() == pytest.approx(3 * slow_loss(*batch), rel=1e-5)


def test_any_ignore_index_will_do(batch):
    logits, labels = batch
    loss = text_segmentation_loss(logits, labels.where(labels >= 0, 255), ignore_index=255)
    torch.testing.assert_close(loss, text_segmentation_loss(logits, labels))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_fp32(batch, dtype):
    logits, labels = batch[0].to(dtype), batch[1]
    with torch.autocast('cpu', dtype=dtype):
        loss = text_segmentation_loss(logits, labels)
    torch.testing.assert_close(loss, text_segmentation_loss(logits.float(), labels))


@pytest.mark.parametrize('keys', [{}, {'pseudo_label': 'argmax'}, {'none_weight': 0.1}])
def test_two_processes_with_unlike_numbers_of_labels(assert_two_processes_equal_one, batch, keys):
    assert_two_processes_equal_one(dict(type='TextSegmentationLoss', **keys), *batch)


def test_two_processes_one_without_labels(assert_two_processes_equal_one, batch):
    logits, labels = batch
    labels[:2] = -1
    assert_two_processes_equal_one(dict(type='TextSegmentationLoss'), logits, labels)


def _unsynced(logits, labels):
    from code_mm.ops import rank

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
