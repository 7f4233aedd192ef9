import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from sklearn.metrics import roc_auc_score

from code_mm.evaluation.background_metrics import (
    BestThresholdIoU,
    ForegroundIoUMetric,
    ObjectBackgroundAUC,
)
from code_mm.registry import METRICS

CLASSES = ('background', 'cat', 'dog', 'cow')


def sample(scores, label):
    return dict(
        seg_logits=dict(data=torch.as_tensor(scores)),
        gt_sem_seg=dict(data=torch.as_tensor(label)[None]),
        img_path='a.png',
    )


@pytest.fixture
def scored():
    """Scores and labels of three images; the background's plane must not matter."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for _ in range(3):
        label = torch.randint(0, 4, (9, 7), generator=generator)
        scores = torch.rand(4, 9, 7, generator=generator) * 0.5
        scores.scatter_add_(0, label[None], torch.full((1, 9, 7), 0.3))
        scores[0] = 10
        label[0] = 255
        made.append((scores, label))
    return made


def mean_iou(pairs, classes):
    """Mean IoU of the classes that occur, of (prediction, truth) of every pixel that counts."""
    ious = []
    for c in classes:
        either = sum(c in pair for pair in pairs)
        if either:
            ious.append(sum(pair == (c, c) for pair in pairs) / either)
    return 100 * np.mean(ious)


def evaluate(metric, made):
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process({}, [sample(*one) for one in made])
    return metric.evaluate(size=len(made))


def test_foreground_iou_equals_a_count_pixel_by_pixel(scored):
    pairs = [
        (1 + int(scores[1:, y, x].argmax()), int(label[y, x]))
        for scores, label in scored
        for y, x in np.ndindex(*label.shape)
        if label[y, x] not in (0, 255)
    ]
    result = evaluate(ForegroundIoUMetric(iou_metrics=['mIoU']), scored)
    assert result['foreground/mIoU'] == pytest.approx(mean_iou(pairs, (1, 2, 3)), abs=0.01)


def test_best_threshold_equals_the_best_of_counts_pixel_by_pixel(scored):
    metric = BestThresholdIoU()
    expected = {}
    for threshold in metric.thresholds:
        pairs = []
        for scores, label in scored:
            for y, x in np.ndindex(*label.shape):
                found = 1 + int(scores[1:, y, x].argmax())
                found = found if scores[found, y, x] > threshold else 0  # at it: background
                pairs.append((found, int(label[y, x])))
        expected[threshold] = mean_iou([pair for pair in pairs if pair[1] != 255], range(4))
    best = max(expected, key=expected.get)
    assert 0.05 < best < 0.95 and len({round(value, 2) for value in expected.values()}) > 5
    result = evaluate(metric, scored)
    assert result['best_threshold/threshold'] == best
    assert result['best_threshold/mIoU'] == pytest.approx(expected[best], abs=0.005)


@pytest.mark.parametrize('kind', [ForegroundIoUMetric, BestThresholdIoU, ObjectBackgroundAUC])
def test_a_missing_background_and_dropped_scores_are_named(kind):
    metric = kind()
    if kind is not ObjectBackgroundAUC:
        with pytest.raises(
            ValueError, match=f"'background' as the first class for {kind.__name__}"
        ):
            metric.dataset_meta = dict(classes=('cat', 'dog'))
            metric.process({}, [])
    metric.dataset_meta = dict(classes=CLASSES)
    with pytest.raises(ValueError, match=rf'seg_logits for {kind.__name__}.*keep_scores=True'):
        metric.process({}, [dict(pred_sem_seg=0, gt_sem_seg=0)])


def images(count=5, seed=0, scale=1.0, shift=0.0):
    """Scores that are related to the truth, of images that differ in size and level."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        label = rng.choice([0, 1, 2, 255], size=(20 + i, 30), p=[0.5, 0.2, 0.2, 0.1])
        logits = rng.normal(size=(3, *label.shape)) + 0.2 * i
        logits[1:] += 0.8 * ((label == 1) | (label == 2))
        logits = logits * scale + shift
        logits[0] = 0.4 + 100 * scale  # constant background plane, must not count
        made.append((logits.astype(np.float32), label))
    return made


def reference(made):
    scores = np.concatenate([logits[1:].max(0)[label != 255] for logits, label in made])
    truth = np.concatenate([(label != 0)[label != 255] for _, label in made])
    return roc_auc_score(truth, scores)


@pytest.mark.parametrize(('scale', 'shift'), [(1, 0), (0.01, 0.9), (1e4, 0), (1e-9, 0), (1, -50)])
def test_auc_equals_sklearns(scale, shift):
    evaluator = Evaluator(METRICS.build(dict(type='ObjectBackgroundAUC', prefix='val')))
    for seed in (1, 2):  # nothing of the first run may count in the second
        made = images(seed=seed, scale=scale, shift=shift)
        for one in made:
            evaluator.process([sample(*one)], {})
        found = evaluator.evaluate(len(made))['val/object_auc']
        assert found == pytest.approx(reference(made), abs=2e-4)
        assert 0.6 < found < 0.9


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
    metric = ObjectBackgroundAUC()
    metric.process({}, [sample(np.float32([[[9] * 4], [scores]]), np.array([[0, 0, 1, 1]]))])
    assert metric.evaluate(1) == dict(object_auc=area)


def test_auc_without_objects_and_of_nan():
    metric, nothing = ObjectBackgroundAUC(), np.zeros((2, 2), int)
    metric.process({}, [sample(np.zeros((2, 2, 2), np.float32), nothing)])
    assert np.isnan(metric.evaluate(1)['object_auc'])
    with pytest.raises(ValueError, match=r'NaN for a\.png'):
        metric.process({}, [sample(np.full((2, 2, 2), np.nan, np.float32), nothing)])


def _two_processes(folder):
    from mmengine.dataset import DefaultSampler

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
