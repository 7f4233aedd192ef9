"""COCO's masks, the rule by which they become a label map, and the writing of the maps."""

import json

import numpy as np
import pytest
from miniature_benchmarks import OBJECT_IDS, make_miniature
from PIL import Image
from pycocotools import mask as coco

from code_mm.datasets.benchmarks import COCOObjectDataset
from code_mm.datasets.preparation.coco_object_labels import (
    category_labels,
    decode_mask,
    paint_labels,
    write_coco_object_labels,
)


def test_spellings_of_a_mask():
    mask = np.zeros((5, 4), np.uint8)
    mask[1:3, 1:] = 1
    counts = [6, 2, 3, 2, 3, 2, 2]  # down the columns
    text = coco.encode(np.asfortranarray(mask))['counts']
    for spelling in (counts, text, text.decode()):
        assert (decode_mask(dict(size=[5, 4], counts=spelling), 5, 4) == mask).all()
    # parts are united and leave the image
    parts = [[-5, -5, 3, -5, 3, 3, -5, 3], [2, 2, 20, 2, 20, 20, 2, 20]]
    expected = np.zeros((8, 8), bool)
    expected[:3, :3] = expected[2:, 2:] = True
    assert (decode_mask(parts, 8, 8) == expected).all()
    assert not decode_mask([], 8, 8).any()


@pytest.mark.parametrize(
    ('segmentation', 'message'),
    [
        (dict(size=[4, 5], counts=[20]), r'size of its image \[5, 4\], but got \[4, 5\]'),
        (dict(size=[5, 4], counts=[19]), r'sum 5 \* 4 = 20, but got 19'),
        (dict(size=[5, 4], counts='P'), 'Invalid RLE'),
        ([[1, 2, 3, 4]], 'at least three points, but got 4 numbers'),
        ([[1, 2, 3, 4, 5, 6, 7]], 'at least three points, but got 7 numbers'),
    ],
)
def test_damaged_masks_are_named(segmentation, message):
    broken = dict(id=3, image_id=7, category_id=1, segmentation=segmentation)
    with pytest.raises(ValueError, match=f'annotation 3 of image 7: .*{message}'):
        paint_labels([broken], 5, 4, LABELS)


LABELS = {1: 1, 18: 17, 90: 80}


def box(number, category, left, top, right, bottom, crowd=0):
    """An annotation whose mask is a box; right and bottom are excluded."""
    points = [left, top, right, top, right, bottom, left, bottom]
    return dict(id=number, image_id=7, category_id=category, iscrowd=crowd, segmentation=[points])


@pytest.mark.parametrize(
    ('one', 'other', 'row'),
    [
        # the smaller mask lies on top, whatever the file says of areas
        (box(2, 1, 0, 0, 6, 6) | dict(area=1), box(1, 90, 2, 0, 4, 2), [1, 1, 80, 80, 1, 1, 0, 0]),
        # of equal ones the higher id
        (box(5, 1, 0, 0, 4, 4), box(6, 18, 2, 0, 6, 4), [1, 1, 17, 17, 17, 17, 0, 0]),
        # a crowd carries its category and lies beneath everything
        (box(1, 1, 2, 0, 8, 8), box(9, 18, 0, 0, 3, 3, crowd=1), [17, 17, 1, 1, 1, 1, 1, 1]),
    ],
)
def test_what_is_seen_where_objects_overlap(one, other, row):
    for order in ([one, other], [other, one]):
        painted = paint_labels(order, 8, 8, LABELS)
        assert painted.dtype == np.uint8 and painted.shape == (8, 8)
        assert painted[0].tolist() == row
    with pytest.raises(ValueError, match='annotation 3 of image 7: 91'):
        paint_labels([box(3, 91, 0, 0, 2, 2)], 8, 8, LABELS)


def test_labels_follow_the_order_of_the_ids():
    classes = COCOObjectDataset.METAINFO['classes']
    categories = [dict(id=i, name=n) for i, n in zip(OBJECT_IDS, classes[1:], strict=True)]
    labels = category_labels(categories[::-1])
    # as COCO publishes them: id -> name, written down here
    published = {1: 'person', 13: 'stop sign', 18: 'dog', 44: 'bottle', 90: 'toothbrush'}
    assert {i: classes[labels[i]] for i in published} == published
    with pytest.raises(ValueError, match=r"80 object categories, but got 79, .*'toothbrush'"):
        category_labels(categories[:-1])


@pytest.fixture
def instances(tmp_path):
    root = make_miniature('coco_object', tmp_path, num_images=5)
    return root / 'annotations' / 'instances_val2017.json'


def test_every_image_gets_a_map_and_an_interrupted_run_goes_on(instances, tmp_path, monkeypatch):
    folder, save, calls = tmp_path / 'labels', Image.Image.save, []

    def stop(image, file, **kwargs):
        save(image, file, **kwargs)
        calls.append(file)
        if len(calls) == 2:  # this one is written, but not under its own name yet
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Image.Image, 'save', stop)
        write_coco_object_labels(instances, folder)
    (made,) = folder.iterdir()
    Image.fromarray(np.full((3, 3), 9, np.uint8)).save(made)  # must be left alone
    assert write_coco_object_labels(instances, folder, 2) == (4, 1)
    assert Image.open(made).size == (3, 3)
    assert write_coco_object_labels(instances, folder, overwrite=True) == (5, 0)
    data = json.loads(instances.read_text())
    labels, painted = category_labels(data['categories']), []
    for image in data['images']:
        found = [a for a in data['annotations'] if a['image_id'] == image['id']]
        expected = paint_labels(found, image['height'], image['width'], labels)
        file = folder / image['file_name'].replace('.jpg', '_instanceTrainIds.png')
        assert (np.asarray(Image.open(file)) == expected).all()
        painted.append(expected.any())
    assert painted == [True, True, False, True, True]  # the third has no objects
    assert len(list(folder.iterdir())) == 5


def test_other_files_are_refused(instances, tmp_path):
    data = json.loads(instances.read_text())
    without = dict(images=data['images'], annotations=[])
    foreign = dict(data, annotations=[dict(data['annotations'][0], image_id=9)])
    for text, message in (
        (instances.read_text()[:-20], 'is cut or damaged'),
        (json.dumps(without), 'has no categories'),
        (json.dumps(foreign), r'got image ids \[9\]; the file is not whole'),
    ):
        instances.write_text(text)
        with pytest.raises(ValueError, match=message):
            write_coco_object_labels(instances, tmp_path)
    with pytest.raises(FileNotFoundError, match=r'annotations_trainval2017\.zip'):
        write_coco_object_labels(tmp_path / 'no.json', tmp_path)
