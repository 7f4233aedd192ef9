import json

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.structures import SegDataSample

from code_mm.evaluation import class_ious, confusion_counts
from code_mm.registry import METRICS

CLASSES = ('cat', 'dog', 'cow')
# name -> prediction, truth, IoU by class in percent
IMAGES = {
    'a.jpg': ([[0, 0, 1, 2]], [[0, 1, 1, 255]], {'cat': 50.0, 'dog': 50.0}),
    'b.jpg': ([[2, 2, 0, 0]], [[2, 2, 2, 2]], {'cat': 0.0, 'cow': 50.0}),
    'c.jpg': ([[0, 0, 0, 0]], [[255, 255, 255, 255]], {}),
}


def sample(name, prediction, truth):
    one = SegDataSample(metainfo=dict(img_path=name))
    for key, value in dict(pred_sem_seg=prediction, gt_sem_seg=truth).items():
        one.set_data({key: PixelData(data=torch.tensor(np.array([value])))})
    return one.to_dict()


def evaluate(names, size, **keys):
    metric = METRICS.build(dict(type='PerImageIoU', **keys))
    metric.dataset_meta = dict(classes=CLASSES)
    for name in names:
        metric.process({}, [sample(name, *IMAGES[name][:2])])
    return metric.evaluate(size)


def lines_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def expected(names):
    means = {name: np.mean(list(IMAGES[name][2].values())) for name in names if IMAGES[name][2]}
    return [dict(image=name, mIoU=means.get(name), IoU=IMAGES[name][2]) for name in names]


def test_the_metric_writes_every_image_and_averages(tmp_path):
    file = tmp_path / 'new' / 'per_image_iou.jsonl'
    result = evaluate(list(IMAGES), 3, output_dir=str(file.parent))
    assert result == {'per_image/mIoU': pytest.approx((50 + 25) / 2)}
    assert lines_of(file) == expected(list(IMAGES))


def test_a_relative_path_lies_beside_the_log(tmp_path):
    MMLogger.get_instance('per_image_iou_test', log_file=str(tmp_path / 'run.log'))
    try:
        evaluate(['a.jpg'], 1, output_dir='scores')
    finally:
        MMLogger._instance_dict.pop('per_image_iou_test')
    assert lines_of(tmp_path / 'scores/per_image_iou.jsonl') == expected(['a.jpg'])


def _one_process(folder):
    """Rank 0 has images a and c, rank 1 has b and, dealt twice, a."""
    import torch.distributed

    rank = torch.distributed.get_rank()
    names = [['a.jpg', 'c.jpg'], ['b.jpg', 'a.jpg']][rank]
    return evaluate(names, 3, output_dir=folder)


def test_two_processes_write_one_file_in_data_set_order(run_in_two_processes, tmp_path):
    results = run_in_two_processes(_one_process, str(tmp_path))
    assert results[0] == results[1] == {'per_image/mIoU': pytest.approx((50 + 25) / 2)}
    written = lines_of(tmp_path / 'per_image_iou.jsonl')
    assert written == expected(['a.jpg', 'b.jpg', 'c.jpg'])


def test_class_ious_equal_mmsegs():
    metric, counts = IoUMetric(iou_metrics=['mIoU']), 0
    metric.dataset_meta = dict(classes=(*CLASSES, 'owl'))  # no owl anywhere
    for prediction, truth in np.random.default_rng(0).integers(0, 3, (3, 2, 9, 7)):
        truth[0, :3] = 255
        metric.process({}, [sample('', prediction, truth)])
        counts = counts + confusion_counts(prediction, truth, 4)
    ious = class_ious(counts)
    assert np.isnan(ious).tolist() == [False, False, False, True]
    # mmseg rounds to two digits
    assert metric.evaluate(3)['mIoU'] == pytest.approx(100 * np.nanmean(ious), abs=0.0051)


def test_maps_that_do_not_fit_are_named():
    labels = np.array([[0, 1]])
    with pytest.raises(ValueError, match=r'of one size, but got \(1, 2\) and \(2, 1\)'):
        confusion_counts(labels, labels.T, 2)
    with pytest.raises(ValueError, match=r'of the prediction in 0\.\.1, but got \[2\]'):
        confusion_counts(labels + 1, labels, 2)
    with pytest.raises(ValueError, match=r'of the truth in 0\.\.1, but got \[-1\]'):
        confusion_counts(labels, labels - 1, 2)
