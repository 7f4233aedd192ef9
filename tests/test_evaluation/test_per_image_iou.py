import json

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from code_mm.evaluation.per_image_iou import ImageIoU, rank_images, read_per_image_iou
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
        one.set_data({key: PixelData(data=torch.tensor([value]))})
    return one.to_dict()


def evaluate(names, size, **keys):
    metric = METRICS.build(dict(type='PerImageIoU', **keys))
    metric.dataset_meta = dict(classes=CLASSES)
    for name in names:
        metric.process({}, [sample(name, *IMAGES[name][:2])])
    return metric.evaluate(size)


def expected(names):
    means = {name: np.mean(list(IMAGES[name][2].values())) for name in names if IMAGES[name][2]}
    return [ImageIoU(name, means.get(name), IMAGES[name][2]) for name in names]


def test_the_metric_writes_every_image_and_averages(tmp_path):
    file = tmp_path / 'new' / 'per_image_iou.jsonl'
    result = evaluate(list(IMAGES), 3, output_dir=str(file.parent))
    assert result == {'per_image/mIoU': pytest.approx((50 + 25) / 2)}
    assert read_per_image_iou(file) == expected(list(IMAGES))
    first = json.loads(file.read_text().splitlines()[0])
    assert first == {'image': 'a.jpg', 'mIoU': 50.0, 'IoU': {'cat': 50.0, 'dog': 50.0}}


def test_a_relative_path_lies_beside_the_log(tmp_path):
    MMLogger.get_instance('per_image_iou_test', log_file=str(tmp_path / 'run.log'))
    try:
        evaluate(['a.jpg'], 1, output_dir='scores')
    finally:
        MMLogger._instance_dict.pop('per_image_iou_test')
    assert read_per_image_iou(tmp_path / 'scores/per_image_iou.jsonl') == expected(['a.jpg'])


def _one_process(folder):
    """Rank 0 has images a and c, rank 1 has b and, dealt twice, a."""
    import torch.distributed

    rank = torch.distributed.get_rank()
    names = [['a.jpg', 'c.jpg'], ['b.jpg', 'a.jpg']][rank]
    return evaluate(names, 3, output_dir=folder)


def test_two_processes_write_one_file_in_data_set_order(run_in_two_processes, tmp_path):
    results = run_in_two_processes(_one_process, str(tmp_path))
    assert results[0] == results[1] == {'per_image/mIoU': pytest.approx((50 + 25) / 2)}
    written = read_per_image_iou(tmp_path / 'per_image_iou.jsonl')
    assert written == expected(['a.jpg', 'b.jpg', 'c.jpg'])


def test_worst_and_best_images():
    scores = [ImageIoU(str(i), mean, {}) for i, mean in enumerate([50.0, None, 10.0, 90.0, 10.0])]
    assert rank_images(scores, 1) == ([2], [3])
    assert rank_images(scores, 2) == ([2, 4], [3, 0])
    assert rank_images(scores, 9) == ([2, 4], [3, 0])  # no image is both
    assert rank_images(scores[:1], 2) == ([0], [])


def test_wrong_input_is_named(tmp_path):
    with pytest.raises(ValueError, match='got 0 scored images'):
        rank_images([ImageIoU('a', None, {})], 1)
    with pytest.raises(ValueError, match='num=0'):
        rank_images([ImageIoU('a', 1.0, {})], 0)
    (tmp_path / 'bad.jsonl').write_text('{"image": "a", "mIoU": 1, "IoU": {}}\n{"image": "b"}\n')
    with pytest.raises(ValueError, match=r'line 2 of .*bad.jsonl'):
        read_per_image_iou(tmp_path / 'bad.jsonl')
