"""Label maps of COCO-Object, and the check of all benchmarks' data, on miniatures of them."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import data_report
import numpy as np
import pytest
from coco_object_labels import category_labels, decode_mask, paint_labels, write_coco_object_labels
from data_report import check_benchmark
from miniature_benchmarks import NAMES, OBJECT_IDS, make_miniature
from PIL import Image
from pycocotools import mask as coco
from tiny_configs import CONFIGS, load

from code_mm.datasets.benchmarks import COCOObjectDataset
from code_mm.datasets.benchmarks.table import BENCHMARKS

ALL = CONFIGS / 'eval' / 'code_vit-b16_all.py'
PIPELINE = load('_base_/datasets/evaluation.py').test_pipeline
COUNTS = dict(
    voc21=1449, voc20=1449, cityscapes=500, coco_stuff=5000, coco_object=5000, ade20k=2000
)
LABELS = {1: 1, 18: 17, 90: 80}


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
    ('segmentation', 'category', 'message'),
    [
        (dict(size=[4, 5], counts=[20]), 1, r'size of its image \[5, 4\], but got \[4, 5\]'),
        (dict(size=[5, 4], counts=[19]), 1, r'sum 5 \* 4 = 20, but got 19'),
        (dict(size=[5, 4], counts='P'), 1, 'Invalid RLE'),
        ([[1, 2, 3, 4]], 1, 'at least three points, but got 4 numbers'),
        ([[1, 2, 3, 4, 5, 6, 7]], 1, 'at least three points, but got 7 numbers'),
        ([], 91, '91'),
    ],
)
def test_damaged_annotations_are_named(segmentation, category, message):
    broken = dict(id=3, image_id=7, category_id=category, segmentation=segmentation)
    with pytest.raises(ValueError, match=f'annotation 3 of image 7: .*{message}'):
        paint_labels([broken], 5, 4, LABELS)


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


def test_labels_follow_the_order_of_the_ids():
    classes = COCOObjectDataset.METAINFO['classes']
    categories = [dict(id=i, name=n) for i, n in zip(OBJECT_IDS, classes[1:], strict=True)]
    labels = category_labels(categories[::-1])
    # as COCO publishes them: id -> name, written down here
    published = {1: 'person', 13: 'stop sign', 18: 'dog', 44: 'bottle', 90: 'toothbrush'}
    assert {i: classes[labels[i]] for i in published} == published
    with pytest.raises(ValueError, match=r"80 object categories, but got 79, .*'toothbrush'"):
        category_labels(categories[:-1])


def test_every_image_gets_a_map_and_an_interrupted_run_goes_on(run, tmp_path, monkeypatch):
    root = make_miniature('coco_object', tmp_path, num_images=5)
    instances, folder = root / 'annotations/instances_val2017.json', tmp_path / 'labels'
    save, calls = Image.Image.save, []

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
    options = ('coco_object', root, '--out', folder)
    assert '4 label maps written, 1 were there' in run(*options, '--workers', 2)
    assert Image.open(made).size == (3, 3)
    assert '5 label maps written, 0 were there' in run(*options, '--overwrite')
    maps = {path.name: np.asarray(Image.open(path)) for path in folder.iterdir()}
    data = json.loads(instances.read_text())
    names = [i['file_name'].replace('.jpg', '_instanceTrainIds.png') for i in data['images']]
    assert sorted(maps) == names
    # the config reads them under these names
    assert sorted(path.name for path in (root / 'annotations/val2017').iterdir()) == names
    shapes = [(image['height'], image['width']) for image in data['images']]
    assert [maps[name].shape for name in names] == shapes
    # a crowd lies beneath two objects; the third image has none
    painted = [np.unique(maps[name]).tolist() for name in names]
    assert painted == [[0, 1, 41, 80], [0, 1, 41, 80], [0], [0, 1, 41, 80], [0, 1, 41, 80]]

    without = dict(images=data['images'], annotations=[])
    foreign = dict(data, annotations=[dict(data['annotations'][0], image_id=9)])
    for text, message in (
        (instances.read_text()[:-20], 'is cut or damaged'),
        (json.dumps(without), 'has no categories'),
        (json.dumps(foreign), 'got image ids [9]; the file is not whole'),
    ):
        instances.write_text(text)
        assert message in run(*options, status=2)
    said = run('coco_object', root, '--split', 'train2017', status=2)
    assert 'trainval2017.zip' in said and '_train2017.json does not' in said


def dataset_config(name, data_root):
    return dict(BENCHMARKS[name].dataset_config(), data_root=str(data_root), pipeline=PIPELINE)


@pytest.mark.parametrize('name', NAMES)
def test_whole_data_are_right_but_for_their_number(name, tmp_path):
    cfg = dataset_config(name, make_miniature(name, tmp_path))
    report = check_benchmark(name, cfg)
    assert report.problems == [f'expected {COUNTS.get(name, "5104 or 5105")} images, but got 3']
    assert (report.num_images, report.num_labels, report.num_read) == (3, 3, 3)
    suffix = 'TrainIds.png' if name in ('coco_object', 'coco_stuff', 'cityscapes') else '.png'
    files = sorted(Path(cfg['data_root'], cfg['data_prefix']['seg_map_path']).rglob(f'*{suffix}'))
    maps = [np.array(Image.open(path)).astype(int) for path in files]
    if name in ('voc20', 'context59', 'ade20k'):  # the file counts from 1
        maps = [np.where((m == 0) | (m == 255), 255, m - 1) for m in maps]
    counts = np.array([[(m == c).sum() for c in range(256)] for m in maps])  # slowly
    number, kinds = len(report.classes), (counts[:, :255] > 0).sum(1)
    pixels = counts.sum(0)[:number].tolist()
    assert report.pixels.tolist() == pixels
    assert report.images.tolist() == (counts > 0).sum(0)[:number].tolist()
    assert report.ignored == pytest.approx(counts[:, 255].sum() / counts.sum())
    assert len({*report.example['labels'].flat} - {255}) == kinds.max()
    (note,) = report.notes
    assert note.startswith(f'{pixels.count(0)} classes are in no label file read')


def redraw(change):
    """A function that changes a label file by a function of its array."""
    return lambda path: Image.fromarray(change(np.array(Image.open(path)))).save(path)


def rename(old, new):
    return lambda path: path.rename(path.with_name(path.name.replace(old, new)))


def cut(path):
    path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize(
    ('name', 'pattern', 'change', 'message'),
    [
        ('context60', '*Context/*.png', redraw(lambda m: m + 90), 'values above 59'),
        ('context59', '*Context/*.png', redraw(lambda m: m - 1), 'coded by another tool'),
        ('context60', '*ClassContext', shutil.rmtree, 'ClassContext does not exist'),
        ('context60', 'val.txt', Path.unlink, r'val\.txt does not exist'),
        ('cityscapes', '*.png', rename('TrainIds', 'Ids'), r'there \(.*_labelIds\.png\), but not'),
        ('ade20k', 'ADE*.png', rename('.png', '_seg.png'), r'there \(.*_seg\.png\)'),
        ('voc21', '*.png', redraw(lambda m: np.stack([m] * 3, -1)), 'colour pictures'),
        ('voc20', '*.png', redraw(lambda m: np.where(m == 255, 0, m)), 'no pixel is 255'),
        ('coco_stuff', '*.png', rename('_labelTrainIds', ''), r'there \(.*001\.png\), but not'),
        ('coco_object', '*.png', rename('instance', 'label'), r'there \(.*1_labelTrainIds\.png\)'),
        ('coco_object', '*01*.png', Path.unlink, '1 labels do not exist: .*1_instanceTrainIds'),
        ('voc21', '2007_000002.jpg', Path.unlink, '1 images do not exist: .*2007_000002.jpg'),
        ('ade20k', 'ADE*1.jpg', Path.unlink, '1 labels without image: ADE_val_00000001.png'),
        ('voc21', '*.png', redraw(np.zeros_like), "every pixel is 'background' or ignored"),
        ('ade20k', '*2.png', redraw(lambda m: m[:, 1:]), r'in size: .*0002\.png: label \(71'),
        ('ade20k', '*2.png', cut, '^1 files cannot be read: ADE_val_00000002.png: '),
        ('context60', '*.png', redraw(lambda m: np.uint16(m) + 300), 'values up to 3.. in the'),
    ],
)
def test_a_mistake_is_named(name, pattern, change, message, tmp_path):
    root = make_miniature(name, tmp_path)
    for path in sorted(root.rglob(pattern)):
        change(path)
    problems = check_benchmark(name, dataset_config(name, root)).problems
    assert any(re.search(message, problem) for problem in problems), problems


def test_other_data_sets_are_refused_or_checked_by_themselves(tmp_path):
    cfg = dataset_config('ade20k', make_miniature('ade20k', tmp_path))
    with pytest.raises(ValueError, match='a: expected a data set with data_prefix'):
        check_benchmark('a', dict(type='ConcatDataset', datasets=[]))
    with pytest.raises(ValueError, match='expected LoadAnnotations in the pipeline'):
        check_benchmark('a', dict(cfg, pipeline=[dict(type='LoadImageFromFile')]))
    # unknown to us: no published number, the rest is checked
    keys = dict(type='BaseSegDataset', metainfo=dict(classes=['a', 'b']), reduce_zero_label=True)
    (problem,) = check_benchmark('own', {**cfg, **keys}).problems
    assert problem.startswith('labels ')
    assert 'there are only 2 classes (0 ... 1, 255 is ignored)' in problem


def test_check_eval_data(run, tmp_path, monkeypatch):
    root, out = make_miniature('voc21', tmp_path), tmp_path / 'out'
    place = 'test_cfg.benchmarks.voc21.dataset.data_root='

    def check(*options, config=ALL, root=root, status=1):
        only = ('--out', out, '--cfg-options', 'test_cfg.only=voc21', f'{place}{root}')
        return run('check_eval_data', config, *options, *only, status=status)

    said = check()
    assert 'expected 1449 images, but got 3' in said
    assert 'VOCtrainval_11-May-2012.tar' in said and 'docs/benchmarks.md' in said
    classes = json.loads((out / 'voc21_classes.json').read_text())
    assert classes[0]['class'] == 'background' and len(classes) == 21
    assert sum(row['pixels %'] for row in classes) == pytest.approx(100)
    assert Image.open(out / 'voc21.png').size[0] > 480
    # the same data, were they published with three images
    changed = dict(voc21=replace(BENCHMARKS['voc21'], num_images=(3,)))
    monkeypatch.setattr(data_report, 'BENCHMARKS', changed)
    said = check(status=0)
    assert 'voc21: right: 3 images, 3 labels (3 read)' in said and 'wrong' not in said
    # labels without class are not drawn
    for path in root.rglob('SegmentationClass/*.png'):
        Image.fromarray(np.full_like(Image.open(path), 90)).save(path)
    (out / 'voc21.png').unlink()
    said = check('--limit', 1)
    assert 'values above 20' in said and not (out / 'voc21.png').exists()
    assert '3 labels (1 read)' in said  # reads few files and counts all
    assert '/no does not exist; data_root of the config says where' in check(root='/no')
    assert 'a config file' in check(config='no.py', status=2)
    assert '--limit' in check('--limit', 0, status=2)
