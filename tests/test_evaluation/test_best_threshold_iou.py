import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from code_mm.evaluation import BestThresholdIoU

CLASSES = ('background', 'cat', 'dog', 'cow')


def _sample(scores, label):
    sample = SegDataSample()
    sample.set_data(dict(seg_logits=PixelData(data=scores), gt_sem_seg=PixelData(data=label[None])))
    return sample.to_dict()


def _independent_miou(samples, threshold):
    """Mean IoU of all classes that occur, counted pixel by pixel."""
    counts = np.zeros((2, 4))
    for scores, label in samples:
        for y, x in np.ndindex(*label.shape):
            truth, found = int(label[y, x]), 1 + int(np.argmax(scores[1:, y, x]))
            if truth == 255:
                continue
            if scores[found, y, x] <= threshold:
                found = 0
            counts[0, truth] += found == truth
            for c in {found, truth}:
                counts[1, c] += 1
    seen = counts[1] > 0
    return 100 * np.mean(counts[0, seen] / counts[1, seen])


@pytest.fixture
def metric():
    metric = BestThresholdIoU()
    metric.dataset_meta = dict(classes=CLASSES)
    return metric


def test_equals_the_best_of_counts_pixel_by_pixel(metric):
    generator = torch.Generator().manual_seed(0)
    samples = []
    for _ in range(3):
        label = torch.randint(0, 4, (9, 7), generator=generator)
        scores = torch.rand(4, 9, 7, generator=generator) * 0.5
        scores.scatter_add_(0, label[None], torch.full((1, 9, 7), 0.3))
        scores[0] = 10  # the model's own background plane must not matter
        label[0] = 255
        samples.append((scores, label))
    metric.process({}, [_sample(*sample) for sample in samples])
    result = metric.evaluate(size=3)
    pairs = [(s.numpy(), t.numpy()) for s, t in samples]
    expected = {t: _independent_miou(pairs, t) for t in metric.thresholds}
    best = max(expected, key=expected.get)
    assert 0.05 < best < 0.95 and len({round(value, 2) for value in expected.values()}) > 5
    assert result['best_threshold/threshold'] == best
    assert result['best_threshold/mIoU'] == pytest.approx(expected[best], abs=0.005)


def test_a_score_at_the_threshold_is_background_and_absent_classes_do_not_count():
    metric = BestThresholdIoU(thresholds=[0.5])
    metric.dataset_meta = dict(classes=CLASSES)
    scores = torch.zeros(4, 1, 2)
    scores[1, 0] = torch.tensor([0.5, 0.75])
    metric.process({}, [_sample(scores, torch.tensor([[0, 1]]))])
    result = metric.evaluate(size=1)
    assert result == {'best_threshold/mIoU': 100.0, 'best_threshold/threshold': 0.5}


def test_mistakes_are_named(metric):
    with pytest.raises(ValueError, match=r'seg_logits for BestThresholdIoU.*keep_scores=True'):
        metric.process({}, [dict(pred_sem_seg=0, gt_sem_seg=0)])
    metric.dataset_meta = dict(classes=('cat', 'dog'))
    with pytest.raises(ValueError, match="'background' as the first class for BestThresholdIoU"):
        metric.process({}, [])
    with pytest.raises(ValueError, match='at least one threshold'):
        BestThresholdIoU(thresholds=[])
