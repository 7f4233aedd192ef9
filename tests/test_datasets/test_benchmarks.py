"""The eight benchmarks: configs against mmseg's own, labels against the files, metric by hand."""

import runpy
from pathlib import Path

import mmseg
import numpy as np
import pytest
import torch
from miniature_benchmarks import CITY_IDS, NAMES, make_miniature, true_labels
from mmengine.config import Config
from mmseg.datasets import COCOStuffDataset, PascalVOCDataset
from mmseg.registry import DATASETS, METRICS
from mmseg.structures import SegDataSample
from PIL import Image
from tiny_configs import CONFIGS

import code_mm.datasets

MMSEG = Path(mmseg.__file__).parent / '.mim'
PROTOCOL = {  # thesis §4.1: classes, of them background
    'voc21': (21, True),
    'context60': (60, True),
    'coco_object': (81, True),
    'voc20': (20, False),
    'context59': (59, False),
    'coco_stuff': (171, False),
    'cityscapes': (19, False),
    'ade20k': (150, False),
}
OF_MMSEG = {
    'voc21': 'pascal_voc12',
    'context60': 'pascal_context',
    'context59': 'pascal_context_59',
    'coco_stuff': 'coco-stuff164k',
    'cityscapes': 'cityscapes',
    'ade20k': 'ade20k',
}


def config(name):
    return Config.fromfile(CONFIGS / '_base_' / 'datasets' / f'{name}.py')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return tmp_path_factory.mktemp('miniatures')


@pytest.fixture(scope='module', params=NAMES)
def benchmark(request, root):
    """Name and data set of a benchmark's config, on its miniature."""
    data_root = make_miniature(request.param, root, num_images=4)
    cfg = config(request.param).test_dataloader.dataset
    # the miniature stands where the config says, below data/
    assert data_root == root / request.param / cfg.data_root.removeprefix('data/')
    return request.param, DATASETS.build(dict(cfg, data_root=str(data_root), test_mode=True))


def test_all_are_here():
    assert tuple(PROTOCOL) == NAMES


@pytest.mark.parametrize('name', OF_MMSEG)
def test_files_are_where_mmsegs_own_configs_have_them(name):
    ours, theirs = config(name), MMSEG / 'configs/_base_/datasets' / f'{OF_MMSEG[name]}.py'
    ours, theirs = ours.test_dataloader, Config.fromfile(theirs).test_dataloader
    for key in ('type', 'data_prefix', 'ann_file'):
        assert ours.dataset.get(key) == theirs.dataset.get(key), key
    assert ours.dataset.data_root == theirs.dataset.data_root.rstrip('/')
    assert ours.sampler == theirs.sampler


@pytest.mark.parametrize(('name', 'other'), [('voc20', 'voc21'), ('coco_object', 'coco_stuff')])
def test_the_others_share_the_files_of_one_of_those(name, other):
    ours, theirs = (config(n).test_dataloader.dataset for n in (name, other))
    for key in ('data_root', 'data_prefix', 'ann_file'):
        assert ours.get(key) == theirs.get(key), key


@pytest.mark.parametrize('name', NAMES)
def test_one_protocol_for_all(name):
    cfg = config(name)
    assert cfg.data_root == cfg.test_dataloader.dataset.data_root
    assert cfg.test_pipeline == config('ade20k').test_pipeline
    assert cfg.test_pipeline == cfg.test_dataloader.dataset.pipeline
    resize = cfg.test_pipeline[1]
    assert (resize.type, resize.scale, resize.keep_ratio) == ('Resize', (2048, 448), True)
    # the truth is loaded after the resizing: scores count the pixels of the original size
    assert [step.type for step in cfg.test_pipeline].index('LoadAnnotations') == 2
    assert cfg.test_dataloader == cfg.val_dataloader
    assert cfg.test_evaluator == dict(type='IoUMetric', iou_metrics=['mIoU'])
    for method in ('code', 'maskclip'):
        whole = Config.fromfile(CONFIGS / 'eval' / f'{method}_vit-b16_{name}.py')
        threshold = 0.4 if PROTOCOL[name][1] else None
        assert whole.model.decode_head.background_threshold == threshold
        assert whole.test_dataloader == cfg.test_dataloader
        assert whole.model.test_cfg.crop_size == (448, 448)
        assert whole.model.test_cfg.stride == (224, 224)


def test_class_names_are_mmsegs(benchmark):
    name, dataset = benchmark
    number, background = PROTOCOL[name]
    classes = dataset.metainfo['classes']
    assert len(classes) == len(set(classes)) == len(dataset.metainfo['palette']) == number
    assert (classes[0] == 'background') == background
    assert 'background' not in classes[1:]
    if name == 'voc20':
        assert classes == PascalVOCDataset.METAINFO['classes'][1:]
        assert dataset.metainfo['palette'] == PascalVOCDataset.METAINFO['palette'][1:]
    if name == 'coco_object':
        assert classes[1:] == COCOStuffDataset.METAINFO['classes'][:80]
        assert len({tuple(colour) for colour in dataset.metainfo['palette']}) == 81


def test_labels_mean_what_the_files_say(benchmark):
    """Pixel by pixel: the class name of the loaded label is that of the value in the file."""
    name, dataset = benchmark
    classes, meaning = dataset.metainfo['classes'], file_meaning(name)
    assert len(dataset) == 4
    seen = set()
    for number in range(4):
        sample = dataset[number]['data_samples']
        values = np.asarray(Image.open(sample.seg_map_path))
        loaded = sample.gt_sem_seg.data[0].numpy()
        assert loaded.shape == values.shape == sample.ori_shape
        for value in np.unique(values).tolist():
            labels = np.unique(loaded[values == value]).tolist()
            assert len(labels) == 1
            assert (None if labels == [255] else classes[labels[0]]) == meaning[value]
            seen |= set(labels)
        assert (loaded == true_labels(name, sample.seg_map_path)).all()
    assert {0, len(classes) - 1} <= seen  # the ends, where a shift by one shows
    assert (255 in seen) == (name not in ('context60', 'coco_object'))


def file_meaning(name):
    """Value in the label files -> class name, None where ignored."""
    voc = 'aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike'
    voc = f'{voc} person pottedplant sheep sofa train tvmonitor'.split()
    stuff = COCOStuffDataset.METAINFO['classes']
    other = {
        'voc21': 'background',
        'voc20': None,
        'context60': 'background',
        'context59': None,
        'coco_object': 'background',
        'ade20k': None,
    }.get(name)
    if name.startswith('voc'):
        return {0: other, 255: None, **dict(enumerate(voc, 1))}
    if name == 'cityscapes':
        return {255: None, **dict(enumerate(mmseg.datasets.CityscapesDataset.METAINFO['classes']))}
    if name == 'coco_stuff':
        return {255: None, **dict(enumerate(stuff))}
    names = {
        'context60': mmseg.datasets.PascalContextDataset59.METAINFO['classes'],
        'context59': mmseg.datasets.PascalContextDataset.METAINFO['classes'][1:],
        'coco_object': stuff[:80],
        'ade20k': mmseg.datasets.ADE20KDataset.METAINFO['classes'],
    }[name]
    return {0: other, **dict(enumerate(names, 1))}


def test_mmsegs_converter_makes_the_train_ids_of_coco_stuff(root, tmp_path):
    """The miniature's published files, converted by mmseg's own tool, give its train ids."""
    folder = make_miniature('coco_stuff', root, num_images=4) / 'annotations' / 'val2017'
    tool = runpy.run_path(str(MMSEG / 'tools' / 'dataset_converters' / 'coco_stuff164k.py'))
    (tmp_path / 'val2017').mkdir()
    expected = sorted(folder.glob('*_labelTrainIds.png'))
    for path in expected:
        published = path.with_name(path.name.replace('_labelTrainIds', ''))
        tool['convert_to_trainID'](str(published), str(tmp_path), False)
        made = np.asarray(Image.open(tmp_path / 'val2017' / path.name))
        assert (made == np.asarray(Image.open(path))).all()
    assert len(expected) == 4


def test_the_miniatures_are_deterministic(tmp_path):
    for name in NAMES:
        one, two, other = (
            make_miniature(name, tmp_path / str(i), num_images=2, seed=i // 2) for i in range(1, 4)
        )
        files = sorted(p.relative_to(two) for p in two.rglob('*') if p.is_file())
        assert files == sorted(p.relative_to(other) for p in other.rglob('*') if p.is_file())
        assert all((two / f).read_bytes() == (other / f).read_bytes() for f in files)
        assert any((one / f).read_bytes() != (two / f).read_bytes() for f in files)


def test_city_ids_are_those_of_the_published_files():
    # of cityscapesScripts: road 7, person 24, bicycle 33; the ignored ones between
    names = mmseg.datasets.CityscapesDataset.METAINFO['classes']
    ids = dict(zip(names, CITY_IDS, strict=True))
    assert (ids['road'], ids['person'], ids['bicycle']) == (7, 24, 33)


def test_the_metric_is_the_mean_iou_of_the_pixels(benchmark):
    """A fixed random prediction: mmseg's metric by the config against a confusion matrix."""
    name, dataset = benchmark
    number = PROTOCOL[name][0]
    metric = METRICS.build(config(name).test_evaluator)
    metric.dataset_meta = dataset.metainfo
    rng = np.random.default_rng(0)
    confusion = np.zeros((number, number), np.int64)
    for index in range(len(dataset)):
        truth = dataset[index]['data_samples']
        labels = true_labels(name, truth.seg_map_path)
        guess = rng.integers(0, number, labels.shape)
        guess = np.where((rng.random(labels.shape) < 0.5) & (labels != 255), labels, guess)
        sample = SegDataSample(metainfo=truth.metainfo)
        sample.set_data(dict(gt_sem_seg=truth.gt_sem_seg))
        predicted = dict(data=torch.from_numpy(guess)[None])
        metric.process({}, [dict(sample.to_dict(), pred_sem_seg=predicted)])
        for t, p in zip(labels[labels != 255], guess[labels != 255], strict=True):
            confusion[t, p] += 1
    hits = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hits
    expected = 100 * np.mean(hits[union > 0] / union[union > 0])
    assert metric.evaluate(len(dataset))['mIoU'] == pytest.approx(expected, abs=0.006)
    assert 1 < expected < 99


def test_voc20_needs_the_list_of_a_split():
    with pytest.raises(ValueError, match='expected the list of a split as ann_file'):
        code_mm.datasets.PascalVOC20Dataset(ann_file='')
