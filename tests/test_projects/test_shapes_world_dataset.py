"""Classes that are left out, as in mmseg's own data sets."""

import cv2
import numpy as np
import pytest

from projects.shapes_world import BACKGROUNDS, NOUNS, ShapesWorld, write_evaluation
from projects.shapes_world import ShapesWorldDataset

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
READINGS = {
    'annotations': (dict(), ('background', *NOUNS), 0),
    'annotations ': (dict(with_background=False), NOUNS, 1),
    'annotations_with_backgrounds': (
        dict(with_background=False, background_nouns=True),
        (*NOUNS, *BACKGROUNDS),
        1,
    ),
}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shapes')
    write_evaluation(ShapesWorld('hard', 48), folder, 4)
    return folder


def dataset(root, labels, **keys):
    folder = labels.strip()
    return ShapesWorldDataset(
        data_root=str(root),
        data_prefix=dict(img_path='images/validation', seg_map_path=f'{folder}/validation'),
        pipeline=PIPELINE,
        **keys,
    )


@pytest.mark.parametrize('labels', READINGS)
def test_pixels_of_other_classes_are_ignored(root, labels):
    keys, everything, first = READINGS[labels]
    kept = everything[::-2]  # some of them, in another order
    data = dataset(root, labels, metainfo=dict(classes=kept), **keys)
    assert data.metainfo['classes'] == kept
    assert len(data.metainfo['palette']) == len(kept)
    seen = set()
    for i in range(len(data)):
        on_disk = cv2.imread(data.get_data_info(i)['seg_map_path'], cv2.IMREAD_UNCHANGED)
        expected = np.full(on_disk.shape, 255)
        for j, name in enumerate(kept):
            expected[on_disk == first + everything.index(name)] = j
        found = data[i]['data_samples'].gt_sem_seg.data[0].numpy()
        assert np.array_equal(found, expected)
        seen |= set(np.unique(found))
    assert 255 in seen and len(seen) > 2


def test_a_class_keeps_its_colour(root):
    everything = dataset(root, 'annotations')
    data = dataset(root, 'annotations', metainfo=dict(classes=['fish', 'star']))
    colours = dict(zip(everything.metainfo['classes'], everything.metainfo['palette'], strict=True))
    assert data.metainfo['palette'] == [colours['fish'], colours['star']]


def test_all_classes_need_no_relabelling(root):
    assert dataset(root, 'annotations').label_map is None
    data = dataset(root, 'annotations', metainfo=dict(classes=['background', *NOUNS]))
    assert data.label_map is None


def test_an_unknown_class_is_named(root):
    with pytest.raises(ValueError, match=r"but got \['grass'\].*background_nouns"):
        dataset(root, 'annotations', metainfo=dict(classes=['star', 'grass']))
