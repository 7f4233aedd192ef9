"""The tools of tools/analysis on a tiny model and a miniature shapes world."""

import json
import re
import shutil
from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch
from class_iou import class_order, draw_class_ious
from confusion_matrix import classes_to_show, draw_confusion, most_confused
from label_maps import SavedPredictions, find_image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from miniature_benchmarks import make_miniature
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.apis import inference_model, init_model
from mmseg.evaluation import IoUMetric
from mmseg.registry import DATASETS
from PIL import Image
from safetensors.torch import save_file
from tiny_configs import load, shrink
from tiny_model import openai_state, tiny_clip, tiny_code
from worst_and_best import rank_images

from code_mm.datasets.benchmarks.table import BENCHMARKS
from code_mm.evaluation import class_ious
from code_mm.visualization import ComparisonRow, draw_comparison
from projects.shapes_world import ShapesWorld, ShapesWorldDataset, write_evaluation

CODE = ['--model', 'CoDe', 'code.py', 'code.pth']
PAIR = ['--image', 'photo.jpg', '--caption', 'a red star and a boat', '--panel', 96]


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """Folder with data/, label maps of two runs, configs, a checkpoint and a photo."""
    folder = tmp_path_factory.mktemp('analysis')
    write_evaluation(ShapesWorld('easy', size=32), folder / 'data', 4)
    save_file(openai_state(tiny_clip()), folder / 'clip.safetensors')
    dataset = dict(data_root=str(folder / 'data'), level='easy')
    loader = dict(dataset=dataset, num_workers=0, persistent_workers=False)
    for name in ('maskclip', 'code'):
        cfg = load(f'projects/shapes_world/configs/{name}_shapes-hard.py')
        shrink(cfg, folder / 'clip.safetensors').merge_from_dict(dict(test_dataloader=loader))
        cfg.dump(folder / f'{name}.py')
    benchmarks = "dict(easy=dict(dataset=test_dataloader['dataset'], background_threshold=0.3), "
    benchmarks += "same=dict(dataset=test_dataloader['dataset']))"
    several = f"\ntest_cfg = dict(type='MultiDatasetTestLoop', benchmarks={benchmarks})\n"
    (folder / 'several.py').write_text((folder / 'code.py').read_text() + several)
    model = tiny_code(seed=3, decode_head=cfg.model.decode_head)
    torch.save(dict(state_dict=model.state_dict(), meta={}), folder / 'code.pth')
    Image.new('RGB', (40, 48)).save(folder / 'photo.jpg')
    rng = np.random.default_rng(0)
    for run in ('good', 'bad'):
        (folder / run).mkdir()
        for i, path in enumerate(truths(folder)):
            labels = picture(path).copy()
            if run == 'bad':
                labels = rng.integers(0, 9, labels.shape).astype(np.uint8)
            elif i != 1:
                labels[0] = 3  # not perfect, but for one image
            Image.fromarray(labels).save(folder / run / path.name)
    return folder


@pytest.fixture(autouse=True)
def in_place(place, monkeypatch):
    monkeypatch.chdir(place)


def truths(folder):
    return sorted((folder / 'data/annotations/validation').glob('*.png'))


def picture(path):
    return np.asarray(Image.open(path))


def slow_ious(place, run):
    """IoU of every class in percent over all images, counted by masks."""
    maps = [(picture(place / run / t.name), picture(t)) for t in truths(place)]
    ious = []
    for c in range(9):
        both = sum(((p == c) & (t == c)).sum() for p, t in maps)
        either = sum(((p == c) | (t == c)).sum() for p, t in maps)
        ious.append(100 * both / either if either else np.nan)
    return np.array(ious)


def test_class_iou(place, run, tmp_path):
    out = run('class_iou', 'code.py', 'good', 'Noise=bad', '--out', tmp_path)
    assert f'picture: {tmp_path}/class_iou.png' in out
    rows = json.loads((tmp_path / 'class_iou.json').read_text())
    good, bad = slow_ious(place, 'good'), slow_ious(place, 'bad')
    found = [row['good'] for row in rows]
    assert found == sorted(found, reverse=True)
    assert found == pytest.approx(sorted(good[~np.isnan(good)], reverse=True))
    assert sum(row['Noise'] for row in rows) == pytest.approx(np.nansum(bad[~np.isnan(good)]))
    assert picture(tmp_path / 'class_iou.png').ndim == 3


def drawn(figure):
    """The first axes of a figure that can be drawn, whatever its names; names of y and of x."""
    FigureCanvasAgg(figure).draw()
    axes = figure.axes[0]
    return axes, *([t.get_text() for t in a.get_ticklabels()] for a in (axes.yaxis, axes.xaxis))


def test_bars_are_as_long_as_the_ious():
    runs = dict(a=np.array([10, np.nan, 30, 10, 50.0]), b=np.array([10, 5, 90, 20, 51.0]))
    assert class_order(runs, 'iou', None) == [4, 2, 0, 3]
    assert class_order(runs, 'difference', None) == [2, 3, 4, 0]
    assert class_order(runs, 'iou', 1) == [4, 3]
    runs = {'A': np.array([20.0, 80.0, 40.0]), 'B': np.array([80.0, np.nan, 20.0])}
    axes, names, _ = drawn(draw_class_ious(runs, ['a', '$b^', 'c'], [1, 2, 0]))
    assert names == ['$b^', 'c', 'a'] and axes.yaxis_inverted()  # best on top
    widths = [[bar.get_width() for bar in bars] for bars in axes.containers]
    assert widths == [[80, 40, 20], [0, 20, 80]]
    assert 'no pixels' in [text.get_text() for text in axes.texts]


def test_confusion_matrix(place, run, tmp_path):
    options = ['--dataset', 'easy', '--pairs', 3, '--out', tmp_path]
    out = run('confusion_matrix', 'several.py', 'bad', *options)
    saved, ious = np.load(tmp_path / 'counts.npz'), slow_ious(place, 'bad')
    assert 100 * class_ious(saved['counts']) == pytest.approx(ious, nan_ok=True)
    assert saved['classes'][0] == 'background' and f'mIoU {np.nanmean(ious):.2f}' in out
    shares = [r['share in %'] for r in json.loads((tmp_path / 'most_confused.json').read_text())]
    assert len(shares) == 3 and shares == sorted(shares, reverse=True)
    assert picture(tmp_path / 'confusion_matrix.png').ndim == 3


def test_cells_show_shares_of_the_true_class_and_the_most_confused_classes():
    counts, names = np.array([[5, 1, 4], [0, 10, 0], [0, 0, 7]]), ['cat', '$dog', 'cow']
    axes, rows, columns = drawn(draw_confusion(counts, names, [0, 1]))
    # classes that are not shown share a column
    assert (rows, columns) == (['cat', '$dog'], ['cat', '$dog', '(all others)'])
    assert (axes.images[0].get_array() == [[50, 10, 40], [0, 100, 0]]).all()
    counts = np.array([[90, 10, 0], [1, 1, 2], [0, 0, 5]])
    assert most_confused(counts) == [(1, 2), (1, 0), (0, 1)]
    assert most_confused(counts, by='pixels') == [(0, 1), (1, 2), (1, 0)]
    counts = np.diag([50] * 10)
    assert classes_to_show(counts, 4) == [0, 1, 2, 3]
    counts[7, 2], counts[2, 4], counts[0, 9] = 9, 3, 1
    shown = {2: [2, 7], 3: [2, 4, 7], 10: list(range(10))}
    assert {limit: classes_to_show(counts, limit) for limit in shown} == shown


def test_worst_and_best(place, run, tmp_path):
    options = ['--num', 1, '--panel', 64, '--out', tmp_path]
    run('worst_and_best', 'code.py', 'good', 'bad', *options)
    file = tmp_path / 'per_image_iou.jsonl'
    scores = [json.loads(line) for line in file.read_text().splitlines()]
    assert [Path(score['image']).stem for score in scores] == [t.stem for t in truths(place)]
    means = [score['mIoU'] for score in scores]
    assert means[1] == 100 and max(means[:1] + means[2:]) < 100
    assert picture(tmp_path / 'best.png').shape[1] == 4 * 64 + 3 * 8  # image, truth, two runs
    # the same from the file, but drawn again
    written = (tmp_path / 'worst.png').read_bytes()
    (tmp_path / 'worst.png').unlink()
    options += ['--scores', file]
    run('worst_and_best', 'code.py', 'good', 'bad', *options)
    assert (tmp_path / 'worst.png').read_bytes() == written
    for text, message in {'': '4 have none', '{"image": "b"}\n': 'line 1 of .*jsonl'}.items():
        file.write_text(text)
        assert re.search(message, run('worst_and_best', 'code.py', 'good', *options, status=2))
    means = [50.0, None, 10.0, 90.0, 10.0]
    assert rank_images(means, 1) == ([2], [3])
    assert rank_images(means, 9) == ([2, 4], [3, 0])  # no image is both


def test_compare_models(place, run, tmp_path):
    models = {'Clip': ('maskclip.py', 'none'), 'CoDe': ('code.py', 'code.pth')}
    options = ['--images', 2, '-1', '--panel', 64, '--palette', '--out', tmp_path / 'two.png']
    run('compare_models', '--model', 'Clip', *models['Clip'], *CODE, *options)
    meta = ShapesWorldDataset(level='easy', lazy_init=True).metainfo
    names = [truth.name for truth in truths(place)[2:]]
    paths = [str(place / f'data/images/validation/{Path(name).stem}.jpg') for name in names]
    maps = [dict(truth=picture(truth)) for truth in truths(place)[2:]]
    for title, (config, checkpoint) in models.items():
        model = init_model(config, None if checkpoint == 'none' else checkpoint, 'cpu')
        if checkpoint == 'none':
            model.init_weights()
        model.set_class_names(meta['classes'])
        for path, found in zip(paths, maps, strict=True):
            found[title] = inference_model(model, path).pred_sem_seg.data[0].numpy()
    rows = [
        ComparisonRow(mmcv.imread(path, channel_order='rgb'), found, Path(path).name)
        for path, found in zip(paths, maps, strict=True)
    ]
    looks = dict(background=0, distinct=False, panel=64)
    expected = draw_comparison(rows, meta['classes'], meta['palette'], **looks)
    assert (picture(tmp_path / 'two.png') == expected).all()

    # a photo without truth, and classes of the user, for which there is none either
    options = ['--images', 'photo.jpg', 0, '--classes', 'red star, boat', '--panel', 64]
    run('compare_models', *CODE, *options, '--out', tmp_path / 'a.png')
    assert picture(tmp_path / 'a.png').shape[1] == 2 * 64 + 8
    several = ['--model', 'CoDe', 'several.py', 'code.pth', '--dataset', 'easy', '--panel', 64]
    run('compare_models', *several, '--num-images', 1, '--out', tmp_path / 'b.png')
    assert picture(tmp_path / 'b.png').shape[1] == 3 * 64 + 2 * 8


def test_draw_co_decomposition(run, tmp_path):
    for options, nouns in (([], 'star, boat'), (['--nouns', 'red star'], 'red star')):
        words = ['code.py', 'code.pth', *PAIR, '--out', tmp_path / 'a.png', *options]
        assert f'nouns: {nouns}\n' in run('draw_co_decomposition', *words)
        assert picture(tmp_path / 'a.png').shape[2] == 3
    (tmp_path / 'a.jpg').write_text('no image')
    words += ['--image', tmp_path / 'a.jpg']
    assert 'a.jpg is none: broken_image' in run('draw_co_decomposition', *words, status=2)


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['class_iou', 'code.py', 'nowhere'], "label maps, but 'nowhere'"),
        (['class_iou', 'code.py', 'good', 'good'], "different titles, but got 'good'"),
        (['class_iou', 'code.py', 'good', '--sort', 'difference'], 'two runs'),
        (['confusion_matrix', 'several.py', 'bad'], r"one of \['easy', 'same'\], but got None"),
        (['confusion_matrix', 'code.py', 'bad', '--max-classes', 1], 'at least 2 classes'),
        (['worst_and_best', 'code.py', 'bad', '--num', 0], 'num=0'),
        (['draw_co_decomposition', 'maskclip.py', 'none', *PAIR], "lacks .*'TokenizeCaption'"),
    ],
)
def test_wrong_arguments(run, tmp_path, words, message):
    assert re.search(message, run(*words, '--out', tmp_path, status=2))


def test_what_cannot_be_read_is_left_out_and_named(place, run, tmp_path):
    for name in ('bad', 'data'):
        shutil.copytree(place / name, tmp_path / name)
    first, second, third, _ = truths(place)
    (tmp_path / 'bad' / first.name).write_bytes(b'')
    (tmp_path / 'data/annotations/validation' / second.name).write_text('no image')
    (tmp_path / f'data/images/validation/{third.stem}.jpg').write_text('no image')
    data = ['--cfg-options', f'test_dataloader.dataset.data_root={tmp_path}/data']
    options = ['code.py', tmp_path / 'bad', '--out', tmp_path / 'out', *data]
    for name, written in dict(
        class_iou='class_iou.md', confusion_matrix='counts.npz', worst_and_best='worst.png'
    ).items():
        said = run(name, *options, status=1)
        assert '3 images were left out' in said
        for path in (first, second, third):
            assert re.search(f'left out: .*{path.stem}.jpg: ', said)
        assert (tmp_path / 'out' / written).is_file()
    assert np.load(tmp_path / 'out/counts.npz')['counts'].sum() == 32 * 32  # the last image's
    Image.new('RGB', (6000, 1)).save(tmp_path / 'line.png')
    options = ['--images', 0, 1, 2, tmp_path / 'line.png', '--panel', 64, *data, '--out']
    said = run('compare_models', *CODE, *options, tmp_path / 'a.png', status=1)
    assert '2 images were left out' in said
    assert picture(tmp_path / 'a.png').shape[1] == 3 * 64 + 2 * 8  # the first and the line


@pytest.mark.parametrize('name', ['voc21', 'ade20k'])
def test_saved_label_maps_come_back(name, tmp_path):
    """As ``tools/test.py --out`` has IoUMetric write them: those of ADE20K count from 1."""
    pipeline = load('_base_/datasets/evaluation.py').test_pipeline
    keys = dict(data_root=str(make_miniature(name, tmp_path)), pipeline=pipeline)
    dataset = DATASETS.build({**BENCHMARKS[name].dataset_config(), **keys})
    metric, written = IoUMetric(output_dir=str(tmp_path / 'maps')), []
    metric.dataset_meta = dataset.metainfo
    for i in range(len(dataset)):
        sample = dataset[i]['data_samples']
        written.append(torch.randint(0, 3, sample.gt_sem_seg.shape))
        sample.set_data(dict(pred_sem_seg=PixelData(data=written[i][None])))
        metric.process({}, [sample.to_dict()])
    saved = SavedPredictions(dataset, tmp_path / 'maps')
    assert len(saved) == 3
    for i, (path, truth, prediction) in enumerate(saved):
        info = dataset.get_data_info(i)
        in_file = picture(info['seg_map_path']).astype(int)
        if name == 'ade20k':
            in_file = np.where(in_file == 0, 255, in_file - 1)
        assert path == info['img_path'] and (truth == in_file).all()
        assert (prediction == written[i].numpy()).all()


def test_label_maps_and_truths_that_do_not_fit_are_named(place, run, tmp_path):
    data, maps = (shutil.copytree(place / n, tmp_path / n) for n in ('data', 'bad'))
    key = 'test_dataloader.dataset.'

    def refused(*options):
        words = [maps, '--cfg-options', f'{key}data_root={data}', *options]
        return run('class_iou', 'code.py', *words, status=2)

    Image.new('L', (5, 3)).save(maps / '000001.png')
    assert 'annotation (32, 32), but ' in (said := refused()) and 'has (3, 5)' in said
    (maps / '000001.png').unlink()
    assert "but 1 are missing, ['000001.png']" in refused()
    shutil.copytree(data / 'images/validation', data / 'images/more')
    said = refused(f'{key}data_prefix.img_path=images')
    assert "4 names occur more than once, ['000000.png'" in said
    cfg = Config.fromfile(place / 'code.py')
    del cfg.test_dataloader.dataset.pipeline[1]
    cfg.dump(tmp_path / 'blind.py')
    said = run('class_iou', tmp_path / 'blind.py', 'good', status=2)
    assert 'expected a test pipeline that loads the truth' in said


def test_images_by_index_name_and_path():
    paths = ['data/0007.jpg', 'data/b.png', 'data/x/c.jpg', 'data/y/c.jpg']
    names = ['1', '-1', '0007', 'b', 'b.png', 'data/x/c.jpg']
    assert [find_image(paths, name) for name in names] == [1, 3, 0, 1, 1, 2]
    with pytest.raises(IndexError, match='below 4 images, but got -5'):
        find_image(paths, '-5')
    with pytest.raises(ValueError, match=r"called 'c', but 2 are, \['data/x/c.jpg'"):
        find_image(paths, 'c')
    with pytest.raises(ValueError, match=r"such as \['0007.jpg', .*but got 'none.jpg'"):
        find_image(paths, 'none.jpg')
