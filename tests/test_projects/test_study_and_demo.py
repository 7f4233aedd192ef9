"""The study runs, resumes, and its page says what was measured; the demo does nothing twice."""

import argparse
import json
import math
import sys

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

import code_mm  # noqa: F401  so that projects can be imported
from projects.shapes_world import ShapesWorld, demo, write_evaluation
from projects.shapes_world.study import pictures, report, results, run
from projects.shapes_world.study.variants import VARIANTS

SEGMENTED = ('miou_with_background', 'miou_without_background', 'auc')


def options(tmp_path, **changes):
    places = {name: tmp_path / name for name in ('data', 'work_dir', 'docs')}
    sizes = dict(seeds=[0, 1], iters=3, batch_size=2, train=12, val=4, jobs=1, threads=1)
    return argparse.Namespace(**{**places, **sizes, 'only': ['code'], **changes})


def test_a_variant_is_trained_read_and_not_done_again(tmp_path):
    args = options(tmp_path)
    run.make_worlds(args)
    run.make_worlds(args)  # is there already
    variant = next(v for v in VARIANTS if v.name == 'code')
    run.do_run((args, variant, 0))

    folder = run.run_folder(args, variant, 0)
    readings = json.loads((folder / 'readings.json').read_text())
    assert list(readings) == ['', '_pamr', '_mix', '_mix_pamr']
    for scores in readings.values():
        assert all(0 <= scores[key] <= 100 for key in SEGMENTED)
        assert 0 <= scores['word_accuracy'] <= 1
    log = (folder / 'train.log').read_text()
    assert run.do_run((args, variant, 0)) < 1
    assert (folder / 'train.log').read_text() == log
    cfg = Config.fromfile(folder / 'config.py', import_custom_modules=False)
    assert cfg.train_cfg.max_iters == 3 and cfg.param_scheduler[-1].end == 3
    assert cfg.custom_hooks[2].stages[1].begin == 1


def test_one_run_is_enough_for_some_variants(tmp_path):
    runs = [(v.name, seed) for _, v, seed in run.all_runs(options(tmp_path, only=None))]
    assert ('code', 0) in runs and ('code', 1) in runs and runs.count(('maskclip', 0)) == 1
    assert ('code_easy', 0) in runs and ('code_easy', 1) not in runs
    assert ('code_2x', 0) not in runs  # takes long: asked for by name only
    assert runs.index(('nouns_3', 0)) < runs.index(('code', 1))
    asked = run.all_runs(options(tmp_path, only=['code_2x']))
    assert [seed for _, _, seed in asked] == [0, 1]


def test_what_would_mix_runs_is_refused(tmp_path):
    args = options(tmp_path)
    (args.data / 'hard').mkdir(parents=True)
    made_by = dict(level='hard', train=11, val=4)
    (args.data / 'hard/made_by.json').write_text(json.dumps(made_by))
    with pytest.raises(SystemExit, match='holds another shapes world'):
        run.make_worlds(args)
    first = run.lock(args.work_dir)
    with pytest.raises(SystemExit, match='another study is running'):
        run.lock(args.work_dir)
    first.close()
    run.check_settings(args)
    run.check_settings(args)
    with pytest.raises(SystemExit, match=r"holds runs with .*'iters': 3.*choose another"):
        run.check_settings(options(tmp_path, iters=4))


def test_the_page_says_what_was_measured_here_and_elsewhere(tmp_path, monkeypatch, capsys):
    args = options(tmp_path)
    monkeypatch.setattr(pictures, 'draw_examples', lambda args, seeds: [np.zeros((4, 4, 3), 'u1')])
    folders = {variant.name: [] for variant in VARIANTS}
    for name, values in dict(maskclip=[20], segmenter_only=[30, 32], code=[31, 35]).items():
        for seed, value in enumerate(values):
            folder = tmp_path / name / str(seed)
            folder.mkdir(parents=True)
            reading = dict.fromkeys(SEGMENTED, value) | dict(auc=value / 100)
            pamr = reading | dict(miou_with_background=value + 10, word_accuracy=math.nan)
            (folder / 'readings.json').write_text(json.dumps({'': reading, '_pamr': pamr}))
            folders[name].append((seed, folder))
    report.write_report(args, VARIANTS, folders)

    made = json.loads((args.docs / 'study.json').read_text())
    found = made['variants']
    assert found['code']['miou_with_background'] == dict(mean=33.0, std=2.828427, raw=[31, 35])
    assert found['maskclip']['auc'] == dict(mean=0.2, std=None, raw=[0.2])
    assert found['code_pamr']['word_accuracy'] == dict(mean=None, std=None, raw=[None, None])
    text = (args.docs / 'study.md').read_text()
    assert '| CoDe (C+W+R) | 2 | 33.0 ± 2.8 | 33.0 ± 2.8 | 0.330 ± 0.028 |' in text
    # seed by seed, +1 and +3: the spread of the difference is not that of the scores
    assert '| CoDe (C+W+R) minus image segmenter only | +2.0 ± 1.4 | +2.0 ± 1.4 |' in text
    for name in ('main', 'hcl_weight', 'longer', 'examples'):
        assert (args.docs / 'images' / f'study_{name}.png').stat().st_size > 0

    # a fresh clone knows runs that its work folder does not, and adds a seed
    only = {**{name: [] for name in folders}, 'code': [(4, folders['code'][0][1])]}
    both = results.gather(args, VARIANTS, only, made)['variants']
    assert both['code']['seeds'] == [0, 1, 4] and both['code']['auc']['raw'] == [0.31, 0.35, 0.31]
    assert both['maskclip'] == found['maskclip']
    other = results.gather(options(tmp_path, iters=4), VARIANTS, only, made)['variants']
    assert list(other) == ['code', 'code_pamr'] and other['code']['seeds'] == [4]
    assert 'they were made with iterations 3, not 4\n' in capsys.readouterr().out


def test_the_projects_page_is_what_its_json_says():
    docs = run.ROOT / 'docs'
    page = (docs / 'study.md').read_text()
    study = json.loads((docs / 'study.json').read_text())
    assert report.fill(page, report.page_blocks(study, VARIANTS)) == page


def test_finished_steps_of_the_demo_are_not_run_again(tmp_path, monkeypatch, capsys):
    """Every step is done, with known metrics; the table says what was measured."""
    data, work_dir = tmp_path / 'data', tmp_path / 'work'
    write_evaluation(ShapesWorld('hard', 64, 0), data, 2)
    (data / 'made_by.json').write_text(json.dumps(dict(train=10, val=2, level='hard')))
    folders = [work_dir / folder for folder, _ in demo.TRAINING_FREE.values()]
    for base in (work_dir / 'seed_0', work_dir / 'seed_1'):
        (base / 'train').mkdir(parents=True)
        (base / 'train' / 'finished').touch()
        (base / 'train' / 'last_checkpoint').write_text('iter_1.pth')
        folders += [base / config for config in demo.TRAINED.values()]
    for i, folder in enumerate(folders):
        metrics = {'mIoU': 10.0 + i, 'foreground/mIoU': 20.0 + i, 'object_auc': 0.5}
        (folder / 'label_maps').mkdir(parents=True)
        (folder / 'metrics.json').write_text(json.dumps(metrics))
        for image in (data / 'images/validation').glob('*.jpg'):
            labels = Image.fromarray(np.full((64, 64), i, np.uint8))
            labels.save(folder / 'label_maps' / f'{image.stem}.png')
    options = ['--data', data, '--work-dir', work_dir, '--train', 10, '--val', 2, '--seeds', 0, 1]
    monkeypatch.setattr(sys, 'argv', ['run.py', *map(str, options)])
    monkeypatch.setattr(demo, 'run_command', lambda *command: pytest.fail(f'ran {command}'))
    demo.main()
    rows = {row['model']: row for row in json.loads((work_dir / 'results.json').read_text())}
    assert list(rows) == [*demo.TRAINING_FREE, *demo.TRAINED]
    assert rows['MaskCLIP']['mIoU with background'] == 10.0
    assert rows['CoDe']['mIoU with background'] == [14.0, 16.0]  # both seeds
    assert '15.0 ± 1.4' in capsys.readouterr().out
    assert len(list((work_dir / 'pictures').glob('segmentation_*.png'))) == 2
