import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator
from sklearn.metrics import roc_auc_score

from code_mm.evaluation.background_metrics import (
    BestThresholdIoU,
    ForegroundIoUMetric,
    ObjectBackgroundAUC,
)
from code_mm.registry import METRICS

CLASSES = ('background', 'cat', 'dog', 'cow')


def images(count=5, seed=0, scale=1.0, shift=0.0):
    """Scores [4, H, W] that are related to the truth, of images that differ in size and level."""
    rng, made = np.random.default_rng(seed), []
    for i in range(count):
        label = rng.choice([0, 1, 2, 3, 255], size=(20 + i, 30), p=[0.4, 0.2, 0.2, 0.1, 0.1])
        scores = 0.6 * rng.random((4, *label.shape)) + 0.03 * i
        scores += 0.1 * (np.arange(4)[:, None, None] == label)
        scores = scores * scale + shift
        scores[0] = 0.4 + 100 * scale  # the background's plane, which must not count
        made.append((scores.astype(np.float32), label))
    return made


def sample(scores, label):
    label = dict(data=torch.as_tensor(label)[None])
    return dict(seg_logits=dict(data=torch.as_tensor(scores)), gt_sem_seg=label, img_path='a.png')


def evaluate(metric, made):
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process({}, [sample(*one) for one in made])
    return metric.evaluate(size=len(made))


def slow_mean_iou(made, classes, threshold=-np.inf):
    """Mean IoU in percent of the classes, counted by masks over the pixels whose truth is one."""
    both, either = np.zeros(4), np.zeros(4)
    for scores, label in made:
        found = np.where(scores[1:].max(0) > threshold, 1 + scores[1:].argmax(0), 0)
        counted = np.isin(label, classes)  # at the threshold: background
        for c in classes:
            both[c] += ((found == c) & (label == c))[counted].sum()
            either[c] += ((found == c) | (label == c))[counted].sum()
    return 100 * np.mean([both[c] / either[c] for c in classes])


def test_foreground_iou_equals_a_slow_count():
    result = evaluate(ForegroundIoUMetric(iou_metrics=['mIoU']), images())
    expected = slow_mean_iou(images(), (1, 2, 3))
    assert result['foreground/mIoU'] == pytest.approx(expected, abs=0.01)


def test_best_threshold_equals_the_best_of_slow_counts():
    metric = BestThresholdIoU()
    expected = {t: slow_mean_iou(images(), (0, 1, 2, 3), np.float32(t)) for t in metric.thresholds}
    best = max(expected, key=expected.get)
    assert 0.05 < best < 0.95 and len({round(value, 2) for value in expected.values()}) > 5
    result = evaluate(metric, images())
    assert result['best_threshold/threshold'] == best
    assert result['best_threshold/mIoU'] == pytest.approx(expected[best], abs=0.005)


@pytest.mark.parametrize('kind', [ForegroundIoUMetric, BestThresholdIoU, ObjectBackgroundAUC])
def test_a_missing_background_and_dropped_scores_are_named(kind):
    metric = kind()
    if kind is not ObjectBackgroundAUC:
        message = f"'background' as the first class for {kind.__name__}"
        with pytest.raises(ValueError, match=message):
            metric.dataset_meta = dict(classes=('cat', 'dog'))
            metric.process({}, [])
    metric.dataset_meta = dict(classes=CLASSES)
    with pytest.raises(ValueError, match=rf'seg_logits for {kind.__name__}.*keep_scores=True'):
        metric.process({}, [dict(pred_sem_seg=0, gt_sem_seg=0)])


def reference(made):
    scores = np.concatenate([scores[1:].max(0)[label != 255] for scores, label in made])
    truth = np.concatenate([(label != 0)[label != 255] for _, label in made])
    return roc_auc_score(truth, scores)


@pytest.mark.parametrize(('scale', 'shift'), [(1, 0), (0.1, 0.9), (1e4, 0), (1e-9, 0), (1, -50)])
def test_auc_equals_sklearns(scale, shift):
    evaluator = Evaluator(METRICS.build(dict(type='ObjectBackgroundAUC', prefix='val')))
    for seed in (1, 2):  # nothing of the first run may count in the second
        made = images(seed=seed, scale=scale, shift=shift)
        for one in made:
            evaluator.process([sample(*one)], {})
        found = evaluator.evaluate(len(made))['val/object_auc']
        assert found == pytest.approx(reference(made), abs=2e-4)
        assert 0.55 < found < 0.9


@pytest.mark.parametrize(
    ('scores', 'area'),
    [
        ([0.1, 0.2, 0.3, 0.4], 1.0),
        ([0.4, 0.3, 0.2, 0.1], 0.0),
        ([0.0, -0.0, 0.0, -0.0], 0.5),
        ([-1.0, -2.0, -0.5, -3.0], 0.5),
    ],
)
def test_auc_in_closed_form(scores, area):
    made = [(np.float32([[[9] * 4], [scores]]), np.array([[0, 0, 1, 1]]))]
    assert evaluate(ObjectBackgroundAUC(), made) == dict(object_auc=area)
    nothing = np.zeros((2, 2, 2), np.float32), np.zeros((2, 2), int)  # no object
    assert np.isnan(evaluate(ObjectBackgroundAUC(), [nothing])['object_auc'])
    with pytest.raises(ValueError, match=r'NaN for a\.png'):
        evaluate(ObjectBackgroundAUC(), [(nothing[0] * np.nan, nothing[1])])


def _two_processes(folder):
    found = []
    for count in (5, 4, 1):  # 5 and 1: the sampler repeats an image for the second process
        made = images(count)
        metric = ObjectBackgroundAUC(collect_dir=f'{folder}/{count}')
        for index in DefaultSampler(made, shuffle=False):
            metric.process({}, [sample(*made[index])])
        found.append((metric.evaluate(count)['object_auc'], reference(made)))
    return found


def test_two_processes_count_every_image_once(tmp_path, run_in_two_processes):
    for rank in run_in_two_processes(_two_processes, str(tmp_path)):
        for ours, expected in rank:
            assert ours == pytest.approx(expected, abs=2e-4)
