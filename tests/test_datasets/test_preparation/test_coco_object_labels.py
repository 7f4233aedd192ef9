"""COCO's masks, the rule by which they become a label map, and the writing of the maps."""

import json

import numpy as np
import pytest
from miniature_benchmarks import OBJECT_IDS, make_miniature
from PIL import Image

from code_mm.datasets.benchmarks import COCOObjectDataset
from code_mm.datasets.preparation.coco_object_labels import (
    category_labels,
    decode_mask,
    paint_labels,
    write_coco_object_labels,
)


def compress(counts):
    """COCO's text of run lengths, by its definition: five bits a character, lowest first."""
    text = ''
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        while True:
            chunk, value = value & 31, value >> 5
            done = value == (-1 if chunk & 16 else 0)
            text += chr(48 + (chunk if done else chunk + 32))
            if done:
                break
    return text


def runs(mask):
    """Lengths of the runs down the columns, slowly."""
    counts, current = [0], False
    for value in mask.T.ravel():
        if value != current:
            counts.append(0)
            current = value
        counts[-1] += 1
    return counts


def test_all_run_length_spellings():
    rng = np.random.default_rng(0)
    mask = np.kron(rng.integers(0, 2, (4, 3)), np.ones((30, 25))).astype(bool)
    mask[:, 30:45] = True
    size, counts = [120, 75], runs(mask)
    assert max(counts) > 1024  # numbers of several characters
    text = compress(counts)
    for spelling in (counts, text, text.encode()):
        assert (decode_mask(dict(size=size, counts=spelling), *size) == mask).all()


def test_parts_are_united_and_leave_the_image():
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
    with pytest.raises(ValueError, match=message):
        decode_mask(segmentation, 5, 4)


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


def test_an_annotation_that_cannot_be_painted_is_named():
    broken = dict(box(3, 1, 0, 0, 2, 2), segmentation=dict(size=[2, 2], counts=[4]))
    with pytest.raises(ValueError, match=r'annotation 3 of image 7: expected a mask of the size'):
        paint_labels([broken], 8, 8, LABELS)
    with pytest.raises(ValueError, match='annotation 3 of image 7: 91'):
        paint_labels([box(3, 91, 0, 0, 2, 2)], 8, 8, LABELS)


def test_labels_follow_the_order_of_the_ids():
    names = COCOObjectDataset.METAINFO['classes'][1:]
    categories = [dict(id=i, name=n) for i, n in zip(OBJECT_IDS, names, strict=True)]
    labels = category_labels(categories[::-1])
    # as COCO publishes them: id -> name, written down here
    published = {1: 'person', 13: 'stop sign', 18: 'dog', 44: 'bottle', 90: 'toothbrush'}
    classes = COCOObjectDataset.METAINFO['classes']
    assert {i: classes[labels[i]] for i in published} == published
    with pytest.raises(ValueError, match=r"80 object categories, but got 79, .*'toothbrush'"):
        category_labels(categories[:-1])


@pytest.fixture
def root(tmp_path):
    return make_miniature('coco_object', tmp_path, num_images=5)


def instances(root):
    return root / 'annotations' / 'instances_val2017.json'


def label_maps(folder):
    return {p.name: np.asarray(Image.open(p)) for p in sorted(folder.glob('*.png'))}


def test_every_image_gets_a_map_painted_from_its_annotations(root, tmp_path):
    assert write_coco_object_labels(instances(root), tmp_path / 'two', 2) == (5, 0)
    data, maps = json.loads(instances(root).read_text()), label_maps(tmp_path / 'two')
    assert len(maps) == len(data['images']) == 5
    labels = category_labels(data['categories'])
    for image in data['images']:
        found = [a for a in data['annotations'] if a['image_id'] == image['id']]
        expected = paint_labels(found, image['height'], image['width'], labels)
        name = image['file_name'].replace('.jpg', '_instanceTrainIds.png')
        assert (maps[name] == expected).all()
        assert bool(found) == bool(expected.any())
    assert not all(m.any() for m in maps.values())  # one without objects


def test_an_interrupted_run_goes_on(root, tmp_path, monkeypatch):
    folder = tmp_path / 'labels'
    save, calls = Image.Image.save, []

    def stop(image, file, **kwargs):
        save(image, file, **kwargs)
        calls.append(file)
        if len(calls) == 2:  # this one is written, but not under its own name yet
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Image.Image, 'save', stop)
        write_coco_object_labels(instances(root), folder)
    made = list(folder.iterdir())
    assert len(made) == 1
    Image.fromarray(np.full((3, 3), 9, np.uint8)).save(made[0])  # must be left alone
    assert write_coco_object_labels(instances(root), folder) == (4, 1)
    assert label_maps(folder)[made[0].name].shape == (3, 3)
    assert write_coco_object_labels(instances(root), folder, overwrite=True) == (5, 0)
    expected = label_maps(root / 'annotations' / 'val2017')
    assert all((m == expected[name]).all() for name, m in label_maps(folder).items())
    assert {file.suffix for file in folder.iterdir()} == {'.png'}


def test_other_files_are_refused(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'annotations_trainval2017\.zip'):
        write_coco_object_labels(tmp_path / 'no.json', tmp_path)
    file = tmp_path / 'a.json'
    file.write_text(instances(root).read_text()[:-20])
    with pytest.raises(ValueError, match='is cut or damaged'):
        write_coco_object_labels(file, tmp_path)
    data = json.loads(instances(root).read_text())
    file.write_text(json.dumps(dict(images=data['images'], annotations=[])))
    with pytest.raises(ValueError, match='has no categories'):
        write_coco_object_labels(file, tmp_path)
    data['annotations'][0]['image_id'] = 1
    file.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r'got image ids \[1\]; the file is not whole'):
        write_coco_object_labels(file, tmp_path)
