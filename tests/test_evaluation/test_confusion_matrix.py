import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.structures import SegDataSample

from code_mm.evaluation.confusion_matrix import (
    class_ious,
    classes_to_show,
    confusion_counts,
    most_confused,
)

CLASSES = ('cat', 'dog', 'cow', 'owl')


def random_maps(seed, num_classes=4, size=(9, 7)):
    """A truth with ignored pixels, and a prediction that never has the last class."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, num_classes - 1, size)
    truth[0, :3] = 255
    return rng.integers(0, num_classes - 1, size), truth


def test_miou_equals_that_of_mmseg():
    metric = IoUMetric(iou_metrics=['mIoU'])
    metric.dataset_meta = dict(classes=CLASSES)
    counts = 0
    for seed in range(3):
        prediction, truth = random_maps(seed)
        sample = SegDataSample()
        fields = dict(pred_sem_seg=prediction, gt_sem_seg=truth)
        for key, value in fields.items():
            sample.set_data({key: PixelData(data=torch.from_numpy(value)[None])})
        metric.process({}, [sample.to_dict()])
        counts = counts + confusion_counts(prediction, truth, 4)
    ious = class_ious(counts)
    assert np.isnan(ious).tolist() == [False, False, False, True]  # no owl anywhere
    # mmseg rounds to two digits
    assert metric.evaluate(3)['mIoU'] == pytest.approx(100 * np.nanmean(ious), abs=0.005 + 1e-4)


def test_most_confused_pairs_by_share_and_by_pixels():
    counts = np.array([[90, 10, 0], [1, 1, 2], [0, 0, 5]])
    names = ['cat', 'dog', 'cow']
    assert most_confused(counts, names) == [
        ('dog', 'cow', 2, 0.5),
        ('dog', 'cat', 1, 0.25),
        ('cat', 'dog', 10, 0.1),
    ]
    assert most_confused(counts, names, limit=1, by='pixels') == [('cat', 'dog', 10, 0.1)]
    assert most_confused(np.eye(3, dtype=int), names) == []


def test_only_the_classes_of_the_most_confused_pairs_are_shown():
    counts = np.diag([50] * 10)
    counts[7, 2] = 9
    counts[2, 4] = 3
    counts[0, 9] = 1
    names = [f'class {i}' for i in range(10)]
    assert classes_to_show(counts, names, limit=3) == [2, 4, 7]
    assert classes_to_show(counts, names, limit=2) == [2, 7]
    assert classes_to_show(counts, names, limit=10) == list(range(10))
    assert classes_to_show(np.diag([1] * 10), names, limit=4) == [0, 1, 2, 3]


def test_wrong_input_is_named():
    labels = np.array([[0, 1]])
    with pytest.raises(ValueError, match=r'of one size, but got \(1, 2\) and \(2, 1\)'):
        confusion_counts(labels, labels.T, 2)
    with pytest.raises(ValueError, match=r'of the prediction in 0\.\.1, but got \[2\]'):
        confusion_counts(labels + 1, labels, 2)
    with pytest.raises(ValueError, match=r'of the truth in 0\.\.1, but got \[-1\]'):
        confusion_counts(labels, labels - 1, 2)
    with pytest.raises(ValueError, match='at least 2 classes'):
        classes_to_show(np.eye(2), ['a', 'b'], limit=1)
