import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from sklearn.metrics import roc_auc_score

from code_mm.evaluation import ObjectBackgroundAUC
from code_mm.evaluation.object_background_auc import area_under_roc, score_bins
from code_mm.registry import METRICS


def sample(logits, label):
    return dict(
        seg_logits=dict(data=torch.as_tensor(logits)),
        gt_sem_seg=dict(data=torch.as_tensor(label)[None]),
        img_path='a.png',
    )


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


def reference(made, background_plane=0):
    scores = np.concatenate(
        [np.delete(lo, background_plane, 0).max(0)[la != 255] for lo, la in made]
    )
    truth = np.concatenate([(la != 0)[la != 255] for _, la in made])
    return roc_auc_score(truth, scores)


@pytest.mark.parametrize(('scale', 'shift'), [(1, 0), (0.01, 0.9), (1e4, 0), (1e-9, 0), (1, -50)])
def test_equals_sklearn(scale, shift):
    made = images(scale=scale, shift=shift)
    metric = METRICS.build(dict(type='ObjectBackgroundAUC'))
    metric.process({}, [sample(*m) for m in made[:2]])
    metric.process({}, [sample(*m) for m in made[2:]])
    result = metric.evaluate(len(made))['object_auc']
    assert result == pytest.approx(reference(made), abs=2e-4)
    assert 0.6 < result < 0.9


def test_evaluator_with_prefix_and_second_run():
    evaluator = Evaluator(ObjectBackgroundAUC(prefix='val'))
    for seed in (1, 2):  # nothing of the first run may count in the second
        made = images(seed=seed)
        for m in made:
            evaluator.process([sample(*m)], {})
        value = evaluator.evaluate(len(made))['val/object_auc']
        assert value == pytest.approx(reference(made), abs=2e-4)


def test_other_labels_and_planes():
    made = images()
    swapped = [(lo[[1, 2, 0]], np.select([la == 0, la == 255], [7, 99], la)) for lo, la in made]
    metric = ObjectBackgroundAUC(ignore_index=99, background_label=7, background_plane=2)
    metric.process({}, [sample(*m) for m in swapped])
    assert metric.evaluate(5)['object_auc'] == pytest.approx(reference(made), abs=2e-4)


def test_without_a_background_plane():
    made = [(lo[1:], la) for lo, la in images()]
    metric = ObjectBackgroundAUC(background_plane=None)
    metric.process({}, [sample(*m) for m in made])
    whole = [(np.concatenate([np.full_like(lo[:1], 9), lo]), la) for lo, la in made]
    assert metric.evaluate(5)['object_auc'] == pytest.approx(reference(whole), abs=2e-4)


def test_closed_forms():
    truth = np.array([[0, 0, 1, 1]])
    for scores, area in [
        ([0.1, 0.2, 0.3, 0.4], 1.0),
        ([0.4, 0.3, 0.2, 0.1], 0.0),
        ([0.5, 0.5, 0.5, 0.5], 0.5),
        ([0.0, -0.0, 0.0, -0.0], 0.5),
        ([0.1, 0.3, 0.2, 0.4], 0.75),
        ([-1.0, -2.0, -0.5, -3.0], 0.5),
    ]:
        metric = ObjectBackgroundAUC(background_plane=None)
        metric.process({}, [sample(np.float32([[scores]]), truth)])
        assert metric.evaluate(1) == dict(object_auc=area)


def test_nan_without_objects():
    metric = ObjectBackgroundAUC()
    metric.process({}, [sample(np.zeros((2, 2, 2), np.float32), np.zeros((2, 2), int))])
    assert np.isnan(metric.evaluate(1)['object_auc'])


def test_bins_keep_the_order_of_floats():
    values = torch.tensor(
        [-np.inf, -3e38, -1.0, -0.5, -1e-30, 0, 1e-30, 0.5, 0.501, 1, 3e38, np.inf]
    )
    bins = score_bins(values)
    assert (bins[1:] > bins[:-1]).all()
    assert bins.min() >= 0 and bins.max() < 2**20
    assert score_bins(torch.tensor(-0.0)) == score_bins(torch.tensor(0.0))
    random = torch.randn(1000).sort().values
    assert (score_bins(random).diff() >= 0).all()


def test_area_is_a_python_float():
    assert type(area_under_roc(np.array([0, 1]), np.array([1, 0]))) is float


@pytest.mark.parametrize(
    ('broken', 'message'),
    [
        (dict(img_path='b.png'), "'seg_logits' is missing .* of b.png"),
        (sample(np.zeros((2, 3, 3), np.float32), np.zeros((3, 4), int)), r'of one size.*a\.png'),
        (sample(np.full((2, 2, 2), np.nan, np.float32), np.zeros((2, 2), int)), 'NaN for a.png'),
        (sample(np.zeros((1, 2, 2), np.float32), np.zeros((2, 2), int)), 'at least one object'),
    ],
)
def test_broken_samples(broken, message):
    with pytest.raises(ValueError, match=message):
        ObjectBackgroundAUC().process({}, [broken])


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
