"""The study: it runs, resumes, and its page says what the runs measured."""

import argparse
import json
import sys
from statistics import mean, stdev

import mmcv
import numpy as np
import pytest
from mmengine.config import Config

import code_mm  # noqa: F401  so that projects can be imported
from projects.shapes_world.study import pictures, report, results, run
from projects.shapes_world.study.variants import VARIANTS

SEGMENTED = ('miou_with_background', 'miou_without_background', 'auc')


def options(tmp_path, **changes):
    return argparse.Namespace(
        **{
            **dict(seeds=[0, 1], iters=3, batch_size=2, train=12, val=4, jobs=1, threads=1),
            **dict(data=tmp_path / 'data', work_dir=tmp_path / 'work', docs=tmp_path / 'docs'),
            **changes,
        }
    )


def test_a_variant_is_trained_read_and_not_done_again(tmp_path):
    args = options(tmp_path, only=['code'])
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
    # an independent count of one score from the label maps
    truth, found = (
        np.stack([mmcv.imread(p, 'unchanged') for p in sorted(where.glob('*.png'))])
        for where in (args.data / 'hard/annotations/validation', folder / 'label_maps')
    )
    ious = [
        ((truth == c) & (found == c)).sum() / ((truth == c) | (found == c)).sum()
        for c in range(17)
        if ((truth == c) | (found == c)).any()
    ]
    expected = readings['']['miou_with_background']
    assert 100 * np.mean(ious) == pytest.approx(expected, abs=0.006)

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


def test_every_variant_is_a_config_that_differs_from_the_others(tmp_path):
    texts = set()
    for variant in VARIANTS:
        if variant.trained:
            path, iters = tmp_path / f'{variant.name}.py', 100 * variant.length
            run.write_config(run.ROOT / variant.config, variant.options, iters, path)
            cfg = Config.fromfile(path, import_custom_modules=False)
            texts.add((variant.level, iters, cfg.pretty_text))
    assert len(texts) == sum(variant.trained for variant in VARIANTS)


def test_what_would_mix_runs_is_refused(tmp_path):
    args = options(tmp_path, only=['code'])
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


def test_a_failing_command_shows_its_last_lines(tmp_path):
    with pytest.raises(RuntimeError, match='what went wrong'):
        run.call(tmp_path / 'x.log', sys.executable, '-c', "raise SystemExit('what went wrong')")


def made_up_study(tmp_path):
    """Readings of three variants with known scores, two seeds where they are trained."""
    scores = {'maskclip': [20.0], 'segmenter_only': [30.0, 32.0], 'code': [31.0, 35.0]}
    seeds = {variant.name: [] for variant in VARIANTS}
    for name, values in scores.items():
        for seed, value in enumerate(values):
            folder = tmp_path / name / str(seed)
            folder.mkdir(parents=True)
            reading = dict.fromkeys(SEGMENTED, value) | dict(auc=value / 100)
            if name == 'code':
                reading['word_accuracy'] = 0.5
            pamr = reading | dict(miou_with_background=value + 10)
            (folder / 'readings.json').write_text(json.dumps({'': reading, '_pamr': pamr}))
            seeds[name].append((seed, folder))
    return seeds


def test_the_page_says_what_was_measured(tmp_path, monkeypatch):
    args, seeds = options(tmp_path), made_up_study(tmp_path)
    monkeypatch.setattr(pictures, 'draw_examples', lambda args, seeds: [np.zeros((4, 4, 3), 'u1')])
    report.write_report(args, VARIANTS, seeds)

    study = json.loads((args.docs / 'study.json').read_text())['variants']
    assert set(study) == {
        n + s for n in ('maskclip', 'segmenter_only', 'code') for s in ('', '_pamr')
    }
    assert study['code']['miou_with_background'] == dict(mean=33.0, std=2.828427, raw=[31.0, 35.0])
    assert study['maskclip']['auc'] == dict(mean=0.2, std=None, raw=[0.2])

    text = (args.docs / 'study.md').read_text()
    assert '| CoDe (C+W+R) | 2 | 33.0 ± 2.8 | 33.0 ± 2.8 | 0.330 ± 0.028 | 0.500 ± 0.000 |' in text
    # seed by seed: +1 and +3; the spread of the difference is not that of the scores
    delta = [1.0, 3.0]
    cell = f'{mean(delta):+.1f} ± {stdev(delta):.1f}'
    assert f'| CoDe (C+W+R) minus image segmenter only | {cell} | {cell} |' in text
    assert 'Not run yet.' in text  # the other tables
    for name in ('main', 'hcl_weight', 'longer', 'examples'):
        assert (args.docs / 'images' / f'study_{name}.png').stat().st_size > 0


def test_runs_made_elsewhere_stay_on_the_page(tmp_path, capsys):
    """As in a fresh clone, whose page knows runs that its work folder does not."""
    folders = {variant.name: [] for variant in VARIANTS}

    def made(name, seed, **scores):
        folder = tmp_path / f'{name}_{seed}'
        folder.mkdir(exist_ok=True)
        (folder / 'readings.json').write_text(json.dumps({'': scores}))
        return seed, folder

    first = folders | dict(
        maskclip=[made('maskclip', 0, auc=0.5)],
        code=[made('code', 1, auc=0.1, word_accuracy=0.6), made('code', 4, auc=float('nan'))],
    )
    study = json.loads(json.dumps(results.gather(options(tmp_path), VARIANTS, first)))
    assert study['variants']['code']['auc'] == dict(mean=0.1, std=None, raw=[0.1, None])
    assert results.gather(options(tmp_path), VARIANTS, folders, study) == study

    # a further seed, and one made again
    second = folders | dict(code=[made('code', 0, auc=0.3), made('code', 4, auc=0.2)])
    both = results.gather(options(tmp_path), VARIANTS, second, study)
    code = both['variants']['code']
    assert code['seeds'] == [0, 1, 4] and code['auc']['raw'] == [0.3, 0.1, 0.2]
    assert 'word_accuracy' not in code  # seed 0 has none
    assert both['variants']['maskclip'] == study['variants']['maskclip']

    assert capsys.readouterr().out == ''
    other = results.gather(options(tmp_path, iters=4), VARIANTS, second, study)
    assert list(other['variants']) == ['code'] and other['variants']['code']['seeds'] == [0, 4]
    assert 'they were made with iterations 3, not 4\n' in capsys.readouterr().out


def test_the_projects_page_is_what_its_json_says():
    docs = run.ROOT / 'docs'
    page = (docs / 'study.md').read_text()
    study = json.loads((docs / 'study.json').read_text())
    assert report.fill(page, report.page_blocks(study, VARIANTS)) == page
    for entry in study['variants'].values():
        for key, value in entry.items():
            if isinstance(value, dict):
                assert value['mean'] == pytest.approx(mean(value['raw']), abs=1e-6), key
                spread = stdev(value['raw']) if len(value['raw']) > 1 else None
                assert value['std'] == pytest.approx(spread, abs=1e-6), key
    with pytest.raises(ValueError, match='expected places'):
        report.fill('no place', dict(a='new'))


def test_only_runs_of_one_seed_are_subtracted():
    first = dict(seeds=[0, 1], auc=dict(raw=[0.1, 0.25]))
    assert results.difference(first, dict(seeds=[2], auc=dict(raw=[0.1])), 'auc') is None
    second = dict(seeds=[1, 2], auc=dict(raw=[0.5, 0.7]))
    assert results.difference(first, second, 'auc') == dict(mean=-0.25, std=None, raw=[-0.25])
    assert results.difference(first, dict(seeds=[], auc=dict(raw=[0.1])), 'auc')['raw'] == [0, 0.15]
    cell = report._difference_cell(dict(mean=0.5, std=0.6), 'miou_with_background')
    assert cell == '+0.5 ± 0.6 (within the spread)'
    assert report._difference_cell(dict(mean=-0.5, std=None), 'auc') == '-0.500 (one run)'
