"""The tools of tools/analysis on a tiny model and a miniature shapes world, in this process."""

import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.apis import inference_model, init_model
from PIL import Image
from safetensors.torch import save_file
from tiny_configs import load, shrink
from tiny_model import openai_state, tiny_clip, tiny_code
from worst_and_best import rank_images

from code_mm.evaluation import class_ious
from code_mm.visualization import ComparisonRow, draw_comparison
from projects.shapes_world import ShapesWorld, ShapesWorldDataset, write_evaluation

ROOT = Path(__file__).resolve().parents[2]
COUNT = 4


def write_config(folder, name, data):
    """A config of this project at tiny size, as a file."""
    cfg = shrink(load(f'projects/shapes_world/configs/{name}.py'), folder / 'clip.safetensors')
    keys = {
        'test_dataloader.dataset.data_root': str(data),
        'test_dataloader.dataset.level': 'easy',
        'test_dataloader.num_workers': 0,
        'test_dataloader.persistent_workers': False,
    }
    cfg.merge_from_dict(keys)
    cfg.dump(folder / f'{name}.py')
    return cfg


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """Folder with data/, label maps of two runs, configs and a checkpoint."""
    init_default_scope('mmseg')
    folder = tmp_path_factory.mktemp('analysis')
    write_evaluation(ShapesWorld('easy', size=32), folder / 'data', COUNT)
    save_file(openai_state(tiny_clip()), folder / 'clip.safetensors')
    write_config(folder, 'maskclip_shapes-hard', folder / 'data')
    cfg = write_config(folder, 'code_shapes-hard', folder / 'data')
    model = tiny_code(seed=3, decode_head=cfg.model.decode_head)
    torch.save(dict(state_dict=model.state_dict(), meta={}), folder / 'code.pth')
    rng = np.random.default_rng(0)
    for run in ('good', 'bad'):
        (folder / run).mkdir()
        for path in truths(folder):
            labels = np.asarray(Image.open(path)).copy()
            if run == 'bad':
                labels = rng.integers(0, 9, labels.shape).astype(np.uint8)
            elif path.stem != truths(folder)[1].stem:
                labels[0] = 3  # not perfect, but for one image
            Image.fromarray(labels).save(folder / run / path.name)
    return folder


def truths(folder):
    return sorted((folder / 'data/annotations/validation').glob('*.png'))


class Ended(Exception):
    """Status and output of a tool that did not end with 0."""


@pytest.fixture
def run(place, monkeypatch, capsys):
    """``run('class_iou', ...)``: what the tool prints; the current folder is ``place``."""

    def run_tool(name, *args):
        monkeypatch.chdir(place)
        for variable in ('TORCH_FORCE_WEIGHTS_ONLY_LOAD', 'LOCAL_RANK'):
            monkeypatch.setenv(variable, '0')  # what load_config sets is undone afterwards
        monkeypatch.setattr(sys, 'argv', [name, *map(str, args)])
        monkeypatch.setattr(sys, 'path', list(sys.path))
        try:
            runpy.run_path(str(ROOT / f'tools/analysis/{name}.py'), run_name='__main__')
        except SystemExit as end:
            said = capsys.readouterr()
            raise Ended(f'{end.code}: {said.out}{said.err}') from end
        finally:
            sys.modules.pop('runner_options', None)
        return capsys.readouterr().out

    return run_tool


def picture(path):
    return np.asarray(Image.open(path))


def slow_ious(place, run):
    """IoU of every class in percent over all images, counted by masks."""
    maps = [
        (np.asarray(Image.open(place / run / t.name)), np.asarray(Image.open(t)))
        for t in truths(place)
    ]
    ious = []
    for c in range(9):
        both = sum(((p == c) & (t == c)).sum() for p, t in maps)
        either = sum(((p == c) | (t == c)).sum() for p, t in maps)
        ious.append(100 * both / either if either else np.nan)
    return np.array(ious)


def test_class_iou(place, run, tmp_path):
    out = run('class_iou', 'code_shapes-hard.py', 'good', 'Noise=bad', '--out', tmp_path)
    assert f'picture: {tmp_path}/class_iou.png' in out
    rows = json.loads((tmp_path / 'class_iou.json').read_text())
    good, bad = slow_ious(place, 'good'), slow_ious(place, 'bad')
    found = [row['good'] for row in rows]
    assert found == sorted(found, reverse=True)
    assert found == pytest.approx(sorted(good[~np.isnan(good)], reverse=True))
    assert sum(row['Noise'] for row in rows) == pytest.approx(np.nansum(bad[~np.isnan(good)]))
    assert picture(tmp_path / 'class_iou.png').ndim == 3


def test_confusion_matrix(place, run, tmp_path):
    out = run('confusion_matrix', 'code_shapes-hard.py', 'bad', '--pairs', 3, '--out', tmp_path)
    saved = np.load(tmp_path / 'counts.npz')
    assert 100 * class_ious(saved['counts']) == pytest.approx(slow_ious(place, 'bad'), nan_ok=True)
    assert saved['classes'][0] == 'background'
    assert f'mIoU {np.nanmean(slow_ious(place, "bad")):.2f}' in out
    shares = [r['share in %'] for r in json.loads((tmp_path / 'most_confused.json').read_text())]
    assert len(shares) == 3 and shares == sorted(shares, reverse=True)
    assert picture(tmp_path / 'confusion_matrix.png').ndim == 3


def test_worst_and_best(place, run, tmp_path):
    options = ['--num', 1, '--panel', 64, '--out', tmp_path]
    run('worst_and_best', 'code_shapes-hard.py', 'good', 'bad', *options)
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
    run('worst_and_best', 'code_shapes-hard.py', 'good', 'bad', *options)
    assert (tmp_path / 'worst.png').read_bytes() == written
    file.write_text('')
    with pytest.raises(Ended, match=r'2: .*4 have none'):
        run('worst_and_best', 'code_shapes-hard.py', 'good', *options)
    file.write_text('{"image": "b"}\n')
    with pytest.raises(Ended, match=r'2: .*line 1 of .*jsonl'):
        run('worst_and_best', 'code_shapes-hard.py', 'good', *options)


def test_what_cannot_be_read_is_left_out_and_named(place, run, tmp_path):
    for name in ('bad', 'data'):
        shutil.copytree(place / name, tmp_path / name)
    first, second, third, _ = truths(place)
    (tmp_path / 'bad' / first.name).write_bytes(b'')
    (tmp_path / 'data/annotations/validation' / second.name).write_text('no image')
    (tmp_path / f'data/images/validation/{third.stem}.jpg').write_text('no image')
    options = [tmp_path / 'bad', '--out', tmp_path / 'out']
    data = ['--cfg-options', f'test_dataloader.dataset.data_root={tmp_path}/data']
    for tool, written in dict(
        class_iou='class_iou.md', confusion_matrix='counts.npz', worst_and_best='worst.png'
    ).items():
        with pytest.raises(Ended, match=r'(?s)^1: .*3 images were left out') as end:
            run(tool, 'code_shapes-hard.py', *options, *data)
        for path in (first, second, third):
            assert re.search(f'left out: .*{path.stem}.jpg: ', str(end.value))
        assert (tmp_path / 'out' / written).is_file()
    saved = np.load(tmp_path / 'out/counts.npz')['counts']
    assert saved.sum() == 32 * 32  # the last image's
    Image.new('RGB', (6000, 1)).save(tmp_path / 'line.png')
    options = ['--images', 0, 1, 2, tmp_path / 'line.png', '--panel', 64, *data, '--out']
    with pytest.raises(Ended, match=r'(?s)^1: .*2 images were left out'):
        model = ['--model', 'CoDe', 'code_shapes-hard.py', place / 'code.pth']
        run('compare_models', *model, *options, tmp_path / 'a.png')
    assert picture(tmp_path / 'a.png').shape[1] == 3 * 64 + 2 * 8  # the first and the line


def test_worst_and_best_images():
    means = [50.0, None, 10.0, 90.0, 10.0]
    assert rank_images(means, 1) == ([2], [3])
    assert rank_images(means, 9) == ([2, 4], [3, 0])  # no image is both
    with pytest.raises(ValueError, match='num=0'):
        rank_images(means, 0)


def test_compare_models(place, run, tmp_path):
    code = ['--model', 'CoDe', 'code_shapes-hard.py', 'code.pth']
    maskclip = ['--model', 'Clip', 'maskclip_shapes-hard.py', 'none']
    options = ['--images', 2, '-1', '--panel', 64, '--palette', '--out']
    run('compare_models', *code, *options, tmp_path / 'one.png')
    rows, meta = [], ShapesWorldDataset(level='easy', lazy_init=True).metainfo
    model = init_model(str(place / 'code_shapes-hard.py'), str(place / 'code.pth'), 'cpu')
    model.set_class_names(meta['classes'])
    for truth in (truths(place)[2], truths(place)[3]):
        path = place / f'data/images/validation/{truth.stem}.jpg'
        labels = inference_model(model, str(path)).pred_sem_seg.data[0].numpy()
        maps = {'truth': picture(truth), 'CoDe': labels}
        rows.append(ComparisonRow(mmcv.imread(path, channel_order='rgb'), maps, path.name))
    expected = draw_comparison(
        rows, meta['classes'], meta['palette'], background=0, distinct=False, panel=64
    )
    assert (picture(tmp_path / 'one.png') == expected).all()

    run('compare_models', *maskclip, *code, *options, tmp_path / 'two.png')
    two, end = picture(tmp_path / 'two.png'), 200  # above the legend
    assert (two[:end, :136] == expected[:end, :136]).all()  # image and truth
    assert (two[:end, 216:] == expected[:end, 144:]).all()
    assert (two[:end, 144:208] != expected[:end, 144:]).any()  # MaskCLIP between them

    # a photo without truth, and classes of the user, for which there is none either
    Image.fromarray(np.zeros((32, 40, 3), np.uint8)).save(tmp_path / 'photo.jpg')
    options = ['--images', tmp_path / 'photo.jpg', 0, '--classes', 'red star, boat', '--panel', 64]
    run('compare_models', *code, *options, '--out', tmp_path / 'a.png')
    assert picture(tmp_path / 'a.png').shape[1] == 2 * 64 + 8


def test_draw_co_decomposition(place, run, tmp_path):
    Image.fromarray(np.zeros((48, 40, 3), np.uint8)).save(tmp_path / 'photo.jpg')
    options = ['--image', tmp_path / 'photo.jpg', '--caption', 'a red star and a boat']
    options += ['--panel', 96, '--out', tmp_path / 'a.png']
    out = run('draw_co_decomposition', 'code_shapes-hard.py', 'code.pth', *options)
    assert 'nouns: star, boat' in out
    assert picture(tmp_path / 'a.png').shape[2] == 3
    out = run(
        'draw_co_decomposition', 'code_shapes-hard.py', 'code.pth', *options, '--nouns', 'red star'
    )
    assert 'nouns: red star' in out
    (tmp_path / 'photo.jpg').write_text('no image')
    with pytest.raises(Ended, match=r'(?s)^2: .*photo\.jpg is none: broken_image'):
        run('draw_co_decomposition', 'code_shapes-hard.py', 'code.pth', *options)
    with pytest.raises(Ended, match=r"lacks .*'TokenizeCaption'"):
        run('draw_co_decomposition', 'maskclip_shapes-hard.py', 'none', *options)


def test_one_benchmark_of_a_config_with_several(place, run, tmp_path):
    source = (place / 'code_shapes-hard.py').read_text()
    source += "\ntest_cfg = dict(type='MultiDatasetTestLoop', benchmarks=dict("
    source += "easy=dict(dataset=test_dataloader['dataset'], background_threshold=0.3), "
    source += "same=dict(dataset=test_dataloader['dataset'])))\n"
    (place / 'several.py').write_text(source)
    options = ['--dataset', 'easy', '--out', tmp_path]
    out = run('confusion_matrix', 'several.py', 'bad', *options)
    assert f'mIoU {np.nanmean(slow_ious(place, "bad")):.2f}' in out
    model = ['--model', 'CoDe', 'several.py', 'code.pth', '--num-images', 1, '--panel', 64]
    run('compare_models', *model, *options[:-1], tmp_path / 'a.png')
    assert picture(tmp_path / 'a.png').shape[1] == 3 * 64 + 2 * 8
    with pytest.raises(Ended, match=r"--dataset to be one of \['easy', 'same'\], but got None"):
        run('confusion_matrix', 'several.py', 'bad')


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['code_shapes-hard.py', 'nowhere'], "label maps, but 'nowhere'"),
        (['code_shapes-hard.py', 'good', 'good'], "different titles, but got 'good'"),
        (['code_shapes-hard.py', 'good', '--sort', 'difference'], 'two runs'),
    ],
)
def test_wrong_arguments(run, args, message):
    with pytest.raises(Ended, match=f'(?s)^2: .*{message}'):
        run('class_iou', *args)
