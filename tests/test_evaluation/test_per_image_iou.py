import json

import numpy as np
import pytest
import torch
import torch.distributed as dist
from mmengine.logging import MMLogger
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.structures import SegDataSample

from code_mm.evaluation import class_ious, confusion_counts
from code_mm.registry import METRICS

CLASSES = ('cat', 'dog', 'cow')
# name -> prediction, truth, mIoU, IoU by class in percent
IMAGES = {
    'a.jpg': ([[0, 0, 1, 2]], [[0, 1, 1, 255]], 50.0, {'cat': 50.0, 'dog': 50.0}),
    'b.jpg': ([[2, 2, 0, 0]], [[2, 2, 2, 2]], 25.0, {'cat': 0.0, 'cow': 50.0}),
    'c.jpg': ([[0, 0, 0, 0]], [[255, 255, 255, 255]], None, {}),
}
MEAN = {'per_image/mIoU': pytest.approx((50 + 25) / 2)}


def sample(name, prediction, truth):
    one = SegDataSample(metainfo=dict(img_path=name))
    for key, value in dict(pred_sem_seg=prediction, gt_sem_seg=truth).items():
        one.set_data({key: PixelData(data=torch.tensor(np.array([value])))})
    return one.to_dict()


def evaluate(folder, names=IMAGES):
    metric = METRICS.build(dict(type='PerImageIoU', output_dir=folder))
    metric.dataset_meta = dict(classes=CLASSES)
    for name in names:
        metric.process({}, [sample(name, *IMAGES[name][:2])])
    return metric.evaluate(3)


def assert_written(folder):
    lines = (folder / 'per_image_iou.jsonl').read_text().splitlines()
    expected = [dict(image=name, mIoU=m, IoU=ious) for name, (_, _, m, ious) in IMAGES.items()]
    assert [json.loads(line) for line in lines] == expected


def test_a_relative_path_lies_beside_the_log(tmp_path):
    MMLogger.get_instance('per_image_iou_test', log_file=str(tmp_path / 'run.log'))
    try:
        assert evaluate('scores') == MEAN
    finally:
        MMLogger._instance_dict.pop('per_image_iou_test')
    assert_written(tmp_path / 'scores')


def _one_process(folder):
    """Rank 0 has images a and c, rank 1 has b and, dealt twice, a."""
    return evaluate(folder, [['a.jpg', 'c.jpg'], ['b.jpg', 'a.jpg']][dist.get_rank()])


def test_two_processes_write_one_file_in_data_set_order(run_in_two_processes, tmp_path):
    assert run_in_two_processes(_one_process, str(tmp_path / 'new')) == [MEAN, MEAN]
    assert_written(tmp_path / 'new')


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


@pytest.mark.parametrize(
    ('prediction', 'truth', 'match'),
    [
        ([[0, 1]], [[0], [1]], r'of one size, but got \(1, 2\) and \(2, 1\)'),
        ([[1, 2]], [[0, 1]], r'of the prediction in 0\.\.1, but got \[2\]'),
        ([[0, 1]], [[0, -1]], r'of the truth in 0\.\.1, but got \[-1\]'),
    ],
)
def test_maps_that_do_not_fit_are_named(prediction, truth, match):
    with pytest.raises(ValueError, match=match):
        confusion_counts(np.array(prediction), np.array(truth), 2)
