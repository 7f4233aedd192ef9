import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from code_mm.evaluation import ForegroundIoUMetric

CLASSES = ('background', 'cat', 'dog', 'cow')


def _sample(scores, label):
    sample = SegDataSample()
    sample.set_data(dict(seg_logits=PixelData(data=scores), gt_sem_seg=PixelData(data=label[None])))
    return sample.to_dict()


def _independent_miou(samples):
    """Mean IoU of the three objects over object pixels, counted pixel by pixel."""
    ious = []
    for c in range(1, 4):
        intersection = union = 0
        for scores, label in samples:
            for y, x in np.ndindex(*label.shape):
                truth = int(label[y, x])
                if truth in (0, 255):
                    continue
                predicted = 1 + int(np.argmax(scores[1:, y, x]))
                intersection += predicted == c and truth == c
                union += predicted == c or truth == c
        ious.append(100 * intersection / union)
    return np.mean(ious)


def test_equals_a_count_pixel_by_pixel():
    generator = torch.Generator().manual_seed(0)
    samples = []
    for _ in range(2):
        scores = torch.rand(4, 9, 7, generator=generator)
        scores[0] = 10  # the background plane must not matter
        label = torch.randint(0, 4, (9, 7), generator=generator)
        label[0] = 255
        samples.append((scores, label))
    metric = ForegroundIoUMetric(iou_metrics=['mIoU'])
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process({}, [_sample(*sample) for sample in samples])
    result = metric.evaluate(size=2)
    expected = _independent_miou([(s.numpy(), t.numpy()) for s, t in samples])
    assert result['foreground/mIoU'] == pytest.approx(expected, abs=0.01)  # mmseg rounds


def test_a_data_set_without_background_is_refused():
    metric = ForegroundIoUMetric()
    with pytest.raises(ValueError, match="expected 'background' as the first class"):
        metric.dataset_meta = dict(classes=('cat', 'dog'))


def test_dropped_scores_are_named():
    metric = ForegroundIoUMetric(iou_metrics=['mIoU'])
    metric.dataset_meta = dict(classes=['background', 'cat', 'dog'])
    with pytest.raises(ValueError, match=r'seg_logits for ForegroundIoUMetric.*keep_scores=True'):
        metric.process({}, [dict(pred_sem_seg=0, gt_sem_seg=0)])
