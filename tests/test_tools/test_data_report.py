"""The data check on miniatures: whole ones, and ones with every mistake that it knows."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from data_report import check_benchmark
from miniature_benchmarks import NAMES, make_miniature
from PIL import Image
from tiny_configs import load

from code_mm.datasets.benchmarks.table import BENCHMARKS

COUNTS = dict(
    voc21=1449, voc20=1449, cityscapes=500, coco_stuff=5000, coco_object=5000, ade20k=2000
)
PIPELINE = load('_base_/datasets/evaluation.py').test_pipeline


def dataset_config(name, data_root):
    return dict(BENCHMARKS[name].dataset_config(), data_root=str(data_root), pipeline=PIPELINE)


@pytest.mark.parametrize('name', NAMES)
def test_whole_data_are_right_but_for_their_number(name, tmp_path):
    cfg = dataset_config(name, make_miniature(name, tmp_path))
    report = check_benchmark(name, cfg)
    assert report.problems == [f'expected {COUNTS.get(name, "5104 or 5105")} images, but got 3']
    assert (report.num_images, report.num_labels, report.num_read) == (3, 3, 3)
    # counted slowly, from the files
    suffix = 'TrainIds.png' if name in ('coco_object', 'coco_stuff', 'cityscapes') else '.png'
    files = sorted(Path(cfg['data_root'], cfg['data_prefix']['seg_map_path']).rglob(f'*{suffix}'))
    maps = [np.array(Image.open(path)).astype(int) for path in files]
    if name in ('voc20', 'context59', 'ade20k'):  # the file counts from 1
        maps = [np.where((m == 0) | (m == 255), 255, m - 1) for m in maps]
    assert len(maps) == 3
    pixels = [sum(int((m == c).sum()) for m in maps) for c in range(len(report.classes))]
    assert report.pixels.tolist() == pixels
    assert report.images.tolist() == [sum((m == c).any() for m in maps) for c in range(len(pixels))]
    total = sum(m.size for m in maps)
    assert report.ignored == pytest.approx(sum((m == 255).sum() for m in maps) / total)
    kinds = [len(set(m.ravel()) - {255}) for m in [*maps, report.example['labels']]]
    assert kinds[-1] == max(kinds)
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
        (
            'cityscapes',
            '*.png',
            rename('TrainIds', 'Ids'),
            r'_labelIds.png\), but not',
        ),
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
    report = check_benchmark('ade20k', cfg, limit=2)  # reads few files and counts all
    assert (report.num_images, report.num_labels, report.num_read) == (3, 3, 2)
    with pytest.raises(ValueError, match='a: expected a data set with data_prefix'):
        check_benchmark('a', dict(type='ConcatDataset', datasets=[]))
    with pytest.raises(ValueError, match='expected LoadAnnotations in the pipeline'):
        check_benchmark('a', dict(cfg, pipeline=[dict(type='LoadImageFromFile')]))
    # unknown to us: no published number, the rest is checked
    keys = dict(type='BaseSegDataset', metainfo=dict(classes=['a', 'b']), reduce_zero_label=True)
    (problem,) = check_benchmark('own', {**cfg, **keys}).problems
    assert problem.startswith('labels ')
    assert 'there are only 2 classes (0 ... 1, 255 is ignored)' in problem
