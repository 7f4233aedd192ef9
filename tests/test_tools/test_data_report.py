"""The data check on miniatures: whole ones, and ones with every mistake that it knows."""

import re
import shutil

import numpy as np
import pytest
from data_report import check_benchmark
from miniature_benchmarks import NAMES, make_miniature, true_labels
from mmengine.config import Config
from PIL import Image
from tiny_configs import CONFIGS

from code_mm.datasets.benchmarks.table import BENCHMARKS

COUNTS = dict(
    voc21=1449, voc20=1449, cityscapes=500, coco_stuff=5000, coco_object=5000, ade20k=2000
)
PIPELINE = Config.fromfile(CONFIGS / '_base_/datasets/evaluation.py').test_pipeline


def dataset_config(name, data_root):
    return dict(BENCHMARKS[name].dataset_config(), data_root=str(data_root), pipeline=PIPELINE)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp('whole')
    return {name: make_miniature(name, root) for name in NAMES}


@pytest.fixture
def spoilt(whole, tmp_path):
    """``spoilt(name, change)``: the problems that the check finds in a changed copy."""

    def check(name, change, **keys):
        root = tmp_path / 'copy'
        shutil.copytree(whole[name], root)
        change(root)
        report = check_benchmark(name, dataset_config(name, root), **keys)
        return [p for p in report.problems if not p.endswith('images, but got 3')]

    return check


def each(pattern, change):
    """Changes every file of a pattern by a function of its array."""

    def apply(root):
        for path in sorted(root.rglob(pattern)):
            Image.fromarray(change(np.array(Image.open(path)))).save(path)

    return apply


def rename(pattern, old, new):
    def apply(root):
        for path in sorted(root.rglob(pattern)):
            path.rename(path.with_name(path.name.replace(old, new)))

    return apply


def remove(pattern, number=None):
    def apply(root):
        for path in sorted(root.rglob(pattern))[:number]:
            path.unlink() if path.is_file() else shutil.rmtree(path)

    return apply


def set_corner(value):
    def change(labels):
        labels[0, 0] = value
        return labels

    return change


def as_city_ids(root):
    for path in root.rglob('*_labelIds.png'):
        shutil.copy(path, path.with_name(path.name.replace('labelIds', 'labelTrainIds')))


def cut_second(root):
    path = root / 'annotations' / 'validation' / 'ADE_val_00000002.png'
    path.write_bytes(path.read_bytes()[:60])


def widen(labels):
    return np.where(labels == 1, 300, labels.astype(np.uint16))


@pytest.mark.parametrize('name', NAMES)
def test_whole_data_are_right_but_for_their_number(whole, name):
    cfg = dataset_config(name, whole[name])
    report = check_benchmark(name, cfg)
    expected = COUNTS.get(name, '5104 or 5105')
    assert report.problems == [f'expected {expected} images, but got 3']
    assert (report.num_images, report.num_labels, report.num_read) == (3, 3, 3)
    # counted slowly, from the files
    suffix = dict(
        coco_object='*_instanceTrainIds.png', coco_stuff='*TrainIds.png', cityscapes='*TrainIds.png'
    ).get(name, '*.png')
    folder = whole[name] / cfg['data_prefix']['seg_map_path']
    maps = [true_labels(name, path) for path in sorted(folder.rglob(suffix))]
    assert len(maps) == 3
    pixels = [sum(int((m == c).sum()) for m in maps) for c in range(len(report.classes))]
    assert report.pixels.tolist() == pixels
    assert report.images.tolist() == [sum((m == c).any() for m in maps) for c in range(len(pixels))]
    total = sum(m.size for m in maps)
    assert report.ignored == pytest.approx(sum((m == 255).sum() for m in maps) / total)
    kinds = [len(set(np.unique(m).tolist()) - {255}) for m in maps]
    assert len(set(np.unique(report.example['labels']).tolist()) - {255}) == max(kinds)
    (note,) = report.notes
    assert note.startswith(f'{pixels.count(0)} classes are in no label file read')


@pytest.mark.parametrize(
    ('name', 'change', 'message'),
    [
        ('context60', each('*Context/*.png', set_corner(144)), 'values above 59'),
        ('context59', each('*Context/*.png', lambda m: m - 1), 'coded by another tool'),
        ('context60', remove('SegmentationClassContext'), 'ClassContext does not exist'),
        ('context60', remove('SegmentationContext'), r'val\.txt does not exist'),
        ('cityscapes', remove('*TrainIds.png'), r'_labelIds\.png\), but not .*TrainIds\.png'),
        ('cityscapes', as_city_ids, 'values above 18'),
        ('ade20k', rename('annotations/*/*.png', '.png', '_seg.png'), r'there \(.*_seg\.png\)'),
        ('voc21', each('*Class/*.png', lambda m: np.stack([m] * 3, -1)), 'colour pictures'),
        ('voc20', each('*Class/*.png', lambda m: np.where(m == 255, 0, m)), 'no pixel is 255'),
        ('coco_stuff', remove('*_labelTrainIds.png'), r'there \(.*139\.png\), but not'),
        ('coco_object', rename('*.png', 'instance', 'label'), r'there \(.*_labelTrainIds\.png\)'),
        ('coco_object', remove('*.png', 1), '1 labels do not exist: .*139_instanceTrainIds'),
        ('voc21', remove('*Images/2007_000042.jpg'), '1 images do not exist: .*2007_000042.jpg'),
        ('ade20k', remove('*.jpg', 1), '1 labels without image: ADE_val_00000001.png'),
        ('ade20k', each('annotations/*/*.png', np.zeros_like), 'every pixel is ignored'),
        ('voc21', each('*Class/*.png', np.zeros_like), "every pixel is 'background' or ignored"),
        ('ade20k', each('*/*2.png', lambda m: m[:, 1:]), r'in size: .*0002\.png: label \(71'),
        ('ade20k', cut_second, '^1 files cannot be read: ADE_val_00000002.png: '),
        ('context60', each('*Context/*.png', widen), 'values up to 300 in the files'),
        ('voc21', shutil.rmtree, 'copy does not exist; data_root of the config'),
    ],
)
def test_a_mistake_is_named(spoilt, name, change, message):
    problems = spoilt(name, change)
    assert any(re.search(message, problem) for problem in problems), problems


def test_a_limit_reads_few_files_and_counts_all(whole):
    report = check_benchmark('ade20k', dataset_config('ade20k', whole['ade20k']), limit=2)
    assert (report.num_images, report.num_labels, report.num_read) == (3, 3, 2)


def test_other_data_sets_are_refused_or_checked_by_themselves(whole):
    with pytest.raises(ValueError, match='a: expected a data set with data_prefix'):
        check_benchmark('a', dict(type='ConcatDataset', datasets=[]))
    cfg = dataset_config('ade20k', whole['ade20k'])
    with pytest.raises(ValueError, match='expected LoadAnnotations in the pipeline'):
        check_benchmark('a', dict(cfg, pipeline=[dict(type='LoadImageFromFile')]))
    # unknown to us: no published number, the rest is checked
    keys = dict(type='BaseSegDataset', metainfo=dict(classes=['a', 'b']), reduce_zero_label=True)
    report = check_benchmark('own', {**cfg, **keys})
    (problem,) = report.problems
    assert problem.startswith('labels 2 ... ') or problem.startswith('labels ')
    assert 'there are only 2 classes (0 ... 1, 255 is ignored)' in problem
