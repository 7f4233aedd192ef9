"""The study: it runs, resumes, and its page says what the runs measured."""

import argparse
import dataclasses
import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from safetensors.torch import load_file, save_file

from projects.shapes_world import ShapesWorld
from code_mm.tokenizers import tokenize

PROJECT = Path(__file__).parents[2] / 'projects/shapes_study'
SEGMENTED = ('miou_with_background', 'miou_without_background', 'auc')


@pytest.fixture
def module(monkeypatch):
    """``module('report')``: a file of the project, whose files import each other by name."""
    monkeypatch.syspath_prepend(PROJECT)

    def load(name):
        spec = importlib.util.spec_from_file_location(name, PROJECT / f'{name}.py')
        loaded = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, loaded)
        spec.loader.exec_module(loaded)
        return loaded

    return load


def options(tmp_path, **changes):
    return argparse.Namespace(
        **{
            **dict(seeds=[0, 1], iters=3, batch_size=2, train=12, val=4, jobs=1, threads=1),
            **dict(data=tmp_path / 'data', work_dir=tmp_path / 'work', docs=tmp_path / 'docs'),
            **changes,
        }
    )


def test_a_variant_is_trained_read_and_not_done_again(module, tmp_path):
    run, variants = module('run'), module('variants')
    args = options(tmp_path, only=['true_words_for_nouns'])
    run.make_worlds(args)
    run.make_worlds(args)  # is there already
    variant = next(v for v in variants.VARIANTS if v.name == 'true_words_for_nouns')
    run.do_run((args, variant, 0))

    folder = run.run_folder(args, variant, 0)
    readings = json.loads((folder / 'readings.json').read_text())
    assert list(readings) == ['', '_pamr']
    for scores in readings.values():
        assert all(0 <= scores[key] <= 100 for key in SEGMENTED)
        assert 0 <= scores['word_accuracy'] <= 1
    # an independent count of one score from the label maps
    truth, found = (
        np.stack([load_png(p) for p in sorted(where.glob('*.png'))])
        for where in (args.data / 'hard/annotations/validation', folder / 'label_maps')
    )
    ious = [
        ((truth == c) & (found == c)).sum() / ((truth == c) | (found == c)).sum()
        for c in range(17)
        if ((truth == c) | (found == c)).any()
    ]
    expected = readings['']['miou_with_background']
    assert 100 * np.mean(ious) == pytest.approx(expected, abs=0.006)

    recalls = json.loads((folder / 'true_regions.json').read_text())
    regions = sum(len(set(np.unique(labels)) - {0}) for labels in truth)
    for recall in recalls.values():
        assert 0 <= recall <= 1 and recall * regions == pytest.approx(round(recall * regions))

    log = (folder / 'train.log').read_text()
    assert run.do_run((args, variant, 0)) < 1
    assert (folder / 'train.log').read_text() == log
    cfg = Config.fromfile(folder / 'config.py', import_custom_modules=False)
    assert cfg.train_cfg.max_iters == 3 and cfg.param_scheduler[-1].end == 3
    assert cfg.custom_hooks[2].stages[1].begin == 1


def test_recalls_of_true_regions(module):
    """A rim loses the smaller region to pooled features, both to the highlighted image."""
    true_regions = module('true_regions')
    labels = torch.zeros(1, 64, 64, dtype=torch.long)
    labels[0, 10:12, 10:12], labels[0, 40:60, 40:60] = 1, 2
    features = torch.zeros(1, 2, 64, 64)
    features[0, 0, 10:12, 10:12] = 1.0
    features[0, 1] = 0.2
    features[0, 1, 10:12, 10:12] = 0.0

    class Model(torch.nn.Module):
        decode_head = argparse.Namespace(class_embeddings=torch.eye(2))
        # an image is what is seen of it: red for the first class, green for the second
        backbone = argparse.Namespace(
            visual=argparse.Namespace(trunk=lambda image: image),
            encode_image=lambda image: image.sum((2, 3))[:, :2],
        )

        def data_preprocessor(self, batch, training):
            return batch

        def image_segmenter(self, image):
            return features

        def region_prompt(self, image, mask):
            return image * mask

    image = torch.zeros(1, 3, 64, 64)
    image[0, 1, :30] = 0.05  # 96 pixels of it against 4 of 1.0
    image[0, 0, 30:] = 0.8  # 384 pixels of it against 400 of 0.1
    image[0, :, 10:12, 10:12] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    image[0, :, 40:60, 40:60] = torch.tensor([0.0, 0.1, 0.0])[:, None, None]
    sample = SegDataSample(gt_sem_seg=PixelData(data=labels))
    found = true_regions.recalls(Model(), [dict(inputs=image, data_samples=[sample])])
    assert found == {
        'region_recall_pooled': 1.0,
        'region_recall_highlighted': 1.0,
        'region_recall_pooled_rim': 0.5,  # 4 pixels of 1.0 against 96 of 0.2
        'region_recall_highlighted_rim': 0.0,
        # 5 % of the pixels around: some 90 of 0.8 against 400 of 0.1
        'region_recall_highlighted_flipped': 0.5,
    }


def test_one_run_is_enough_for_some_variants(module, tmp_path):
    run = module('run')
    runs = [(v.name, seed) for _, v, seed in run.all_runs(options(tmp_path, only=None))]
    assert ('code', 0) in runs and ('code', 1) in runs and runs.count(('maskclip', 0)) == 1
    assert ('code_easy', 0) in runs and ('code_easy', 1) not in runs
    assert ('code_2x', 0) not in runs  # takes long: asked for by name only
    assert ('maskclip_cut_outs', 0) not in runs  # needs a CLIP of its own
    assert runs.index(('nouns_3', 0)) < runs.index(('code', 1))
    asked = run.all_runs(options(tmp_path, only=['code_2x']))
    assert [seed for _, _, seed in asked] == [0, 1]


def test_a_clip_of_its_own_is_trained_once_and_used(module, tmp_path):
    run, variants = module('run'), module('variants')
    cfg = Config.fromfile(PROJECT / 'cut_out_clip.py', import_custom_modules=False)
    weights = 'configs/clip/weights/small_clip_shapes.safetensors'
    assert cfg.model.clip.init_cfg.checkpoint == weights
    dataset = cfg.train_dataloader.dataset
    dataset.update(batch_size=4, length=2)
    for source in dataset.whole.sources.values():
        source['count'] = 4
    dataset.whole.update(batch_size=4, cache_dir=str(tmp_path / 'cache'))
    cfg.val_dataloader.dataset.sources.hard['count'] = 4
    cfg.val_dataloader.dataset.cache_dir = None
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    cfg.dump(tmp_path / 'tiny_clip.py')
    variant = dataclasses.replace(
        next(v for v in variants.VARIANTS if v.name == 'code_cut_outs'),
        clip=str(tmp_path / 'tiny_clip.py'),
    )
    args = options(tmp_path)
    run.make_clips(args, [(args, variant, 0), (args, variants.VARIANTS[0], 0)])
    made = run.clip_weights(args, variant.clip)
    first = made.stat().st_mtime_ns
    run.make_clips(args, [(args, variant, 0)])
    assert made.stat().st_mtime_ns == first
    assert run.options_of(args, variant)['model.backbone.init_cfg.checkpoint'] == str(made)
    # the image tower learned, the text tower stayed
    old, new = load_file(run.ROOT / weights), load_file(made)
    assert old.keys() == new.keys()
    moved = {name for name in old if not torch.equal(old[name], new[name])}
    assert 'visual.proj' in moved and all(
        name.startswith('visual.') or name == 'logit_scale' for name in moved
    )


@pytest.fixture
def cut_outs(monkeypatch):
    monkeypatch.syspath_prepend(PROJECT.parents[1])
    # under the name by which the config imports it: parts are registered once
    return importlib.import_module('projects.shapes_study.cut_out_batches')


def test_cut_outs_show_their_object_and_little_else(cut_outs, monkeypatch):
    whole = [dict(inputs='whole 0'), dict(inputs='whole 1')]
    monkeypatch.setattr(cut_outs.DATASETS, 'build', lambda cfg: whole)
    world = dict(level='few', seed=3)
    batches = cut_outs.CutOutBatches(
        world, {}, batch_size=32, length=4, context_length=40, max_flip=0.0, template_share=0.0
    )
    assert [batches[i]['inputs'] for i in (1, 3)] == ['whole 0', 'whole 1']
    batch, again = batches[2], batches[2]
    assert torch.equal(batch['inputs'], again['inputs'])
    images = batch['inputs'].numpy()[:, ::-1].transpose(0, 2, 3, 1)
    for i, (image, sample) in enumerate(zip(images, batch['data_samples'], strict=True)):
        made = ShapesWorld(**world).sample('cut_outs', 2 * 32 + i)
        (noun,) = [n for n in made.object_nouns if n == sample.caption.split()[-1].rstrip('.')]
        mask = made.instances == made.object_nouns.index(noun) + 1
        blank = (image == (124, 116, 104)).all(-1)
        assert (image == made.image)[~blank].all()
        # its cells of two pixels are seen, and nothing further than a rim of 12 pixels and a cell
        assert blank[mask].mean() < 0.2
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        far = np.ones_like(mask)
        far[max(rows[0] - 14, 0) : rows[-1] + 15, max(columns[0] - 14, 0) : columns[-1] + 15] = 0
        assert blank[far].all()
        ids = tokenize([sample.caption], 40)
        assert torch.equal(sample.positive_ids, ids)
    # the same regions with single cells flipped, 0 to 20 % of those of an image
    flipping = cut_outs.CutOutBatches(
        world, {}, batch_size=32, length=4, context_length=40, max_flip=0.2, template_share=0.0
    )
    seen, flipped = (
        (b['inputs'].numpy()[:, ::-1] != np.array([124, 116, 104])[:, None, None]).any(1)
        for b in (batch, flipping[2])
    )
    cells = (seen != flipped).reshape(32, 32, 2, 32, 2).transpose(0, 1, 3, 2, 4).reshape(32, -1, 4)
    assert (cells.all(-1) == cells.any(-1)).all()
    shares = cells.any(-1).mean(-1)
    assert shares.max() < 0.25 and shares.mean() == pytest.approx(0.1, abs=0.03)
    with pytest.raises(IndexError):
        batches[4]
    monkeypatch.setattr(cut_outs, 'get_world_size', lambda: 2)
    with pytest.raises(ValueError, match='expected one process, but got 2'):
        cut_outs.CutOutBatches(world, {}, batch_size=32, length=4, context_length=40)


def test_regions_around_an_object(cut_outs):
    cells = np.zeros((32, 32), np.uint8)
    cells[10:15, 12:21] = 1
    rng, shapes = np.random.default_rng(0), set()
    for _ in range(200):
        region = cut_outs.draw_region(cells, rng, max_rim=2)
        rows, columns = (np.flatnonzero(region.any(axis)) for axis in (1, 0))
        assert set(rows) <= set(range(8, 17)) and set(columns) <= set(range(10, 23))
        shapes.add(region.tobytes())
    boxes = [cells > 0]
    for rim in (1, 2):
        box = np.zeros((32, 32), bool)
        box[10 - rim : 15 + rim, 12 - rim : 21 + rim] = True
        boxes.append(box)
    assert all(box.tobytes() in shapes for box in boxes)
    # 3 silhouettes (a box without a rim is one of them), 2 boxes, 3 ellipses
    assert len(shapes) == 8


@pytest.fixture
def distinct(monkeypatch):
    monkeypatch.syspath_prepend(PROJECT.parents[1])
    # under the name by which the config imports it: parts are registered once
    return importlib.import_module('projects.shapes_study.distinct_noun_batches')


class Pairs(list):
    """Stands for a dataset of packed captions with these nouns."""

    @classmethod
    def of(cls, *nouns):
        return cls(dict(data_samples=argparse.Namespace(selected_nouns=pair)) for pair in nouns)


def test_batches_repeat_no_noun_and_nothing_is_left_out(distinct, monkeypatch):
    pairs = Pairs.of(('a', 'b'), ('a', 'c'), ('b', 'd'), ('c', 'e'), ('d', 'e'), ('f', 'a'))
    monkeypatch.setattr(distinct.DATASETS, 'build', lambda cfg: pairs)
    np.random.seed(0)
    samples = iter(distinct.DistinctNounBatches(batch_size=2))
    counts = Counter()
    for _ in range(300):
        nouns = [n for _ in range(2) for n in next(samples)['data_samples'].selected_nouns]
        assert len(set(nouns)) == 4
        counts.update(nouns)
    assert sum(counts.values()) == 1200
    assert counts['f'] == pytest.approx(100, abs=3)  # each pair once per round


def test_batches_that_cannot_be_are_refused(distinct, monkeypatch):
    pairs = Pairs.of(('a', 'b'), ('a', 'c'))
    monkeypatch.setattr(distinct.DATASETS, 'build', lambda cfg: pairs)
    with pytest.raises(ValueError, match='found no more than 1; choose a smaller batch_size'):
        next(iter(distinct.DistinctNounBatches(batch_size=2)))


def load_png(path):
    import mmcv

    return mmcv.imread(path, 'unchanged')


def test_another_world_is_refused(module, tmp_path):
    run = module('run')
    args = options(tmp_path, only=['code'])
    (args.data / 'hard').mkdir(parents=True)
    made_by = dict(level='hard', train=11, val=4)
    (args.data / 'hard/made_by.json').write_text(json.dumps(made_by))
    with pytest.raises(SystemExit, match='holds another shapes world'):
        run.make_worlds(args)


def test_runs_of_other_settings_are_not_mixed(module, tmp_path):
    run = module('run')
    args = options(tmp_path)
    args.work_dir.mkdir()
    run.check_settings(args)
    run.check_settings(args)
    with pytest.raises(SystemExit, match=r"holds runs with .*'iters': 3.*choose another"):
        run.check_settings(options(tmp_path, iters=4))


def test_two_studies_in_one_folder_are_refused(module, tmp_path):
    run = module('run')
    first = run.lock(tmp_path / 'work')
    with pytest.raises(SystemExit, match='another study is running'):
        run.lock(tmp_path / 'work')
    first.close()
    run.lock(tmp_path / 'work').close()


def test_a_failing_command_shows_its_last_lines(module, tmp_path):
    with pytest.raises(RuntimeError, match='what went wrong'):
        module('run').call(
            tmp_path / 'x.log', sys.executable, '-c', "raise SystemExit('what went wrong')"
        )


def test_every_variant_is_a_config_that_differs_from_the_others(module, tmp_path):
    run, variants = module('run'), module('variants').VARIANTS
    assert len({variant.name for variant in variants}) == len(variants)
    texts = set()
    for variant in variants:
        if variant.trained:
            path = tmp_path / f'{variant.name}.py'
            iters = 100 * variant.length
            keys = run.options_of(options(tmp_path), variant)
            run.write_config(run.ROOT / variant.config, keys, iters, path)
            cfg = Config.fromfile(path, import_custom_modules=False)
            texts.add((variant.level, iters, cfg.pretty_text))
    assert len(texts) == sum(variant.trained for variant in variants)


def made_up_study(module, tmp_path, args):
    """Readings of four variants with known scores, two seeds where they are trained."""
    scores = {'maskclip': [20.0], 'segmenter_only': [30.0, 32.0], 'code': [31.0, 35.0]}
    seeds = {variant.name: [] for variant in module('variants').VARIANTS}
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


def test_the_page_says_what_was_measured(module, tmp_path, monkeypatch):
    report = module('report')
    args = options(tmp_path)
    seeds = made_up_study(module, tmp_path, args)
    pictures = module('pictures')
    monkeypatch.setattr(pictures, 'draw_examples', lambda args, seeds: [np.zeros((4, 4, 3), 'u1')])
    report.write_report(args, module('variants').VARIANTS, seeds)

    study = json.loads((args.docs / 'study.json').read_text())['variants']
    assert set(study) == {
        n + s for n in ('maskclip', 'segmenter_only', 'code') for s in ('', '_pamr')
    }
    assert study['code']['miou_with_background'] == dict(mean=33.0, std=2.828427, raw=[31.0, 35.0])
    assert study['code_pamr']['miou_with_background']['mean'] == 43.0
    assert study['maskclip']['auc'] == dict(mean=0.2, std=None, raw=[0.2])
    assert 'word_accuracy' not in study['maskclip']

    text = (args.docs / 'study.md').read_text()
    assert '| CoDe (C+W+R) | 2 | 33.0 ± 2.8 | 33.0 ± 2.8 | 0.330 ± 0.028 | 0.500 ± 0.000 |' in text
    # seed by seed: +1 and +3; the spread of the difference is not that of the scores
    delta = [1.0, 3.0]
    cell = f'{mean(delta):+.1f} ± {stdev(delta):.1f}'
    assert f'| CoDe (C+W+R) minus image segmenter only | {cell} | {cell} |' in text
    assert 'Not run yet.' in text  # the other tables
    for name in ('main', 'hcl_weight', 'image_level', 'cut_outs', 'longer', 'examples'):
        assert (args.docs / 'images' / f'study_{name}.png').stat().st_size > 0


def test_runs_made_elsewhere_stay_on_the_page(module, tmp_path, capsys):
    """As in a fresh clone, whose page knows runs that its work folder does not."""
    results, variants = module('results'), module('variants').VARIANTS
    folders = {variant.name: [] for variant in variants}

    def run(name, seed, **scores):
        folder = tmp_path / f'{name}_{seed}'
        folder.mkdir(exist_ok=True)
        (folder / 'readings.json').write_text(json.dumps({'': scores}))
        return seed, folder

    first = folders | dict(
        maskclip=[run('maskclip', 0, auc=0.5)],
        code=[run('code', 1, auc=0.1, word_accuracy=0.6), run('code', 4, auc=float('nan'))],
    )
    study = json.loads(json.dumps(results.gather(options(tmp_path), variants, first)))
    assert study['variants']['code']['auc'] == dict(mean=0.1, std=None, raw=[0.1, None])
    assert study['made_by']['seeds'] == [1, 4] and study['made_by']['training_images'] == 12
    assert results.gather(options(tmp_path), variants, folders, study) == study

    # a further seed, and one made again
    second = folders | dict(code=[run('code', 0, auc=0.3), run('code', 4, auc=0.2)])
    both = results.gather(options(tmp_path), variants, second, study)
    code = both['variants']['code']
    assert code['seeds'] == [0, 1, 4] and code['auc']['raw'] == [0.3, 0.1, 0.2]
    assert 'word_accuracy' not in code  # seed 0 has none
    assert both['variants']['maskclip'] == study['variants']['maskclip']

    assert capsys.readouterr().out == ''
    other = results.gather(options(tmp_path, iters=4), variants, second, study)
    assert list(other['variants']) == ['code'] and other['variants']['code']['seeds'] == [0, 4]
    assert 'they were made with iterations 3, not 4\n' in capsys.readouterr().out


def test_the_projects_page_is_what_its_json_says(module):
    docs, report = PROJECT.parents[1] / 'docs', module('report')
    page = (docs / 'study.md').read_text()
    study = json.loads((docs / 'study.json').read_text())
    assert report.fill(page, report.page_blocks(study, module('variants').VARIANTS)) == page
    for entry in study['variants'].values():
        for key, value in entry.items():
            if isinstance(value, dict):
                assert value['mean'] == pytest.approx(mean(value['raw']), abs=1e-6), key
                spread = stdev(value['raw']) if len(value['raw']) > 1 else None
                assert value['std'] == pytest.approx(spread, abs=1e-6), key


def test_recall_of_the_other_clip_is_kept_with_its_runs(module, tmp_path):
    results, report = module('results'), module('report')
    args, config = options(tmp_path), module('variants').CUT_OUT_CLIP
    study = results.gather(args, [], {})
    assert study['cut_out_clip'] is None and report.cut_out_clip(study) == 'Not run yet.'
    weights = results.clip_weights(args, config)
    weights.parent.mkdir(parents=True)
    recall = dict(noun_recall_hard='0.75', noun_recall_easy='0.8764')
    save_file(dict(x=torch.zeros(1)), weights, recall | dict(seed='0'))
    study = results.gather(args, [], {})
    shipped = study['clip']
    assert report.cut_out_clip(study) == (
        'Its noun recall@k on whole images is 0.750 on the hard world (shipped CLIP '
        f'{shipped["noun_recall_hard"]:.3f}) and 0.876 on the easy one '
        f'({shipped["noun_recall_easy"]:.3f}).'
    )
    weights.unlink()
    assert results.gather(args, [], {}, study) == study


def test_small_differences_are_called_so(module):
    report = module('report')
    cell = report._difference_cell(dict(mean=0.5, std=0.6), 'miou_with_background')
    assert cell == '+0.5 ± 0.6 (within the spread)'
    assert report._difference_cell(dict(mean=-0.5, std=None), 'auc') == '-0.500 (one run)'
    assert report._difference_cell(None, 'auc') == '-'


def test_only_runs_of_one_seed_are_subtracted(module):
    results = module('results')
    first = dict(seeds=[0, 1], auc=dict(raw=[0.1, 0.25]))
    assert results.difference(first, dict(seeds=[2], auc=dict(raw=[0.1])), 'auc') is None
    second = dict(seeds=[1, 2], auc=dict(raw=[0.5, 0.7]))
    assert results.difference(first, second, 'auc') == dict(mean=-0.25, std=None, raw=[-0.25])
    assert results.difference(first, dict(seeds=[], auc=dict(raw=[0.1])), 'auc')['raw'] == [0, 0.15]
    assert results.difference(first, first, 'miou_with_background') is None
    assert results.summary([float('nan')]) == dict(mean=None, std=None, raw=[None])


def test_the_page_shows_seeds_of_earlier_calls(module, tmp_path):
    run = module('run')
    for name in ('code/seed_10', 'code/seed_2', 'maskclip/untrained'):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / 'readings.json').touch()
    (tmp_path / 'code/seed_3').mkdir()  # not read yet
    found = run.finished_runs(argparse.Namespace(work_dir=tmp_path, seeds=[2]))
    assert found['code'] == [(2, tmp_path / 'code/seed_2'), (10, tmp_path / 'code/seed_10')]
    assert found['maskclip'] == [(0, tmp_path / 'maskclip/untrained')]
    assert found['tcl'] == []


def test_a_page_without_a_place_is_refused(module):
    fill = module('report').fill
    assert fill('<!-- study:a -->\nold\n<!-- end -->', dict(a='new')) == (
        '<!-- study:a -->\nnew\n<!-- end -->'
    )
    with pytest.raises(ValueError, match='expected places'):
        fill('no place', dict(a='new'))


def test_true_words_are_those_of_the_generator(monkeypatch):
    monkeypatch.syspath_prepend(PROJECT.parents[1])
    # under the name by which the config imports it: parts are registered once
    labels = importlib.import_module('projects.shapes_study.true_word_labels')
    world = ShapesWorld('hard', seed=5)
    for index in range(100):
        caption = world.sample('train', index).caption
        expected = [(word, owner) for word, _, _, owner in caption.words]
        assert labels.owners(caption.text) == expected
    with pytest.raises(ValueError, match="'zebra' is not its word"):
        labels.owners('a striped zebra')
    ids = torch.tensor([49406, 1, 2, 3, 49407, 0])
    sample = dict(caption='a red star', selected_nouns=['star'], token_labels=ids)
    assert labels.TrueWordLabels()(sample)['token_labels'].tolist() == [-1, 0, 1, 1, -1, -1]
