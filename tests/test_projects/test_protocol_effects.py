"""What the protocol moves: measured as the rows say, and written as it was measured."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

import code_mm  # noqa: F401  so that projects can be imported
from projects.dense_clip.protocol_effects import effects, effects_page, measure, run
from projects.shapes_world import ShapesWorld, ShapesWorldDataset, write_evaluation

ROOT = Path(__file__).parents[2]
MASKCLIP = str(ROOT / 'projects/shapes_world/configs/maskclip_shapes-hard.py')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('world')
    write_evaluation(ShapesWorld('hard', 64, 0), folder, 4)
    (folder / 'made_by.json').write_text(json.dumps(dict(level='hard', seed=0)))
    return folder


def test_effects_change_something_and_are_compared_with_what_is_there():
    seen = set()
    for effect in effects.EFFECTS:
        assert effect.name not in seen
        assert effect.against in seen | {effects.PLAIN}
        assert effect.group in {'plain', *effects.GROUPS}
        assert bool(effect.keys) == (effect.name != effects.PLAIN)
        seen.add(effect.name)
    assert {effect.group for effect in effects.EFFECTS} == {'plain', *effects.GROUPS}


def truth_and_prediction(data, side=None, **keys):
    """Label maps of MaskCLIP, made without a Runner, and the true ones."""
    import mmcv
    import torch
    import torch.nn.functional as F
    from mmseg.structures import SegDataSample

    from code_mm.apis.load_model import load_zero_shot_model

    cfg = Config.fromfile(MASKCLIP)
    cfg.model.update(keys)
    model = load_zero_shot_model(cfg)
    model.set_class_names(ShapesWorldDataset(level='hard', lazy_init=True).metainfo['classes'])
    for path in sorted((data / 'images/validation').iterdir()):
        image = mmcv.imread(path)
        if side:
            image = mmcv.imresize(image, (side, side))
        inputs = torch.from_numpy(image.transpose(2, 0, 1).copy())
        packed = model.data_preprocessor(
            dict(inputs=[inputs], data_samples=[SegDataSample()]), training=False
        )
        with torch.no_grad():
            scores = model.encode_decode(packed['inputs'], [dict(img_shape=inputs.shape[1:])])
        labels = mmcv.imread(data / 'annotations/validation' / f'{path.stem}.png', 'unchanged')
        yield labels, F.interpolate(scores, labels.shape, mode='bilinear')[0].argmax(0).numpy()


def miou(pairs):
    pairs = list(pairs)
    ious = []
    for label in range(17):
        both = sum(((t == label) & (p == label)).sum() for t, p in pairs)
        either = sum(((t == label) | (p == label)).sum() for t, p in pairs)
        if either:
            ious.append(both / either)
    return 100 * np.mean(ious)


def test_scores_are_those_of_the_changed_protocol(data, tmp_path, monkeypatch, capsys):
    few = (
        effects.Effect(effects.PLAIN, 'plain'),
        effects.Effect('threshold 0.2', 'threshold', effects.threshold(0.2)),
        effects.Effect('images of 96 pixels', 'resize', effects.pipeline(96)),
    )
    monkeypatch.setattr(run, 'EFFECTS', few)
    words = ['--model', 'MaskCLIP', MASKCLIP, 'none', '--data', str(data)]
    words += ['--work-dir', str(tmp_path), '--only', 'plain', 'threshold', 'resize']
    run.main(words)
    assert f'results: {tmp_path / "some.json"}' in capsys.readouterr().out
    model = json.loads((tmp_path / 'some.json').read_text())['models']['MaskCLIP']
    rows = {row['name']: row for row in model['rows']}
    found = {name: row['metrics']['mIoU'] for name, row in rows.items()}
    expected = {
        effects.PLAIN: miou(truth_and_prediction(data)),
        'threshold 0.2': miou(truth_and_prediction(data, background_threshold=0.2)),
        'images of 96 pixels': miou(truth_and_prediction(data, 96)),
    }
    assert found == pytest.approx(expected, abs=0.006)  # mmseg rounds to two digits
    lower = rows['threshold 0.2']
    assert lower['change']['mIoU'] == pytest.approx(
        expected['threshold 0.2'] - expected[effects.PLAIN], abs=0.012
    )
    assert lower['changed'] == {'model.background_threshold': [0.4, 0.2]}
    assert 'dataset.resize' in rows['images of 96 pixels']['changed']
    # a second run reads what is there
    monkeypatch.setattr(measure, '_run', lambda *args: pytest.fail('measured again'))
    run.main(words)
    again = json.loads((tmp_path / 'some.json').read_text())['models']['MaskCLIP']
    assert again['rows'] == model['rows']


def test_the_error_of_a_difference(tmp_path):
    """Two classes, each in every image alike: mIoU is a mean over images, the error known."""
    areas = measure
    rng = np.random.default_rng(1)
    union = np.full((200, 2), 100)
    first, second = rng.integers(0, 101, (2, 200, 2))
    for name, intersect in dict(a=first, b=second).items():
        np.savez(tmp_path / f'{name}.npz', intersect=intersect, union=union)
    found = areas.difference_error(tmp_path / 'a.npz', tmp_path / 'b.npz', draws=4000)
    per_image = (first - second).mean(1)  # percent
    assert found == pytest.approx(per_image.std() / np.sqrt(200), rel=0.05)
    assert areas.difference_error(tmp_path / 'a.npz', tmp_path / 'a.npz') == 0
    assert areas.miou(first.sum(0), union.sum(0)) == pytest.approx(first.mean())
    np.savez(tmp_path / 'c.npz', intersect=first[:9], union=union[:9])
    with pytest.raises(ValueError, match=r'the same images, but got \[9, 200\]'):
        areas.difference_error(tmp_path / 'a.npz', tmp_path / 'c.npz')


def results_by_hand():
    """Results of two models, the second of which has no templates; numbers tell rows apart."""
    models = {}
    for i, title in enumerate(['MaskCLIP', 'CoDe']):
        rows = []
        for j, effect in enumerate(effects.EFFECTS):
            row = dict(name=effect.name, group=effect.group, against=effect.against)
            metrics = dict(mIoU=10.0 * i + j / 10, foreground=20.0, object_auc=0.5)
            change = dict(mIoU=j / 10, foreground=-1.0, object_auc=0.25)
            if i and effect.templates:
                metrics = change = None
            rows.append(dict(row, metrics=metrics, change=change, error=0.3))
        models[title] = dict(config=f'{title}.py', rows=rows)
    return dict(command='do it', data=dict(images=7, level='hard', seed=0), models=models)


def test_the_page_says_what_was_measured():
    results, page = results_by_hand(), (ROOT / 'docs/protocol.md').read_text()
    filled = effects_page.fill(page, effects_page.blocks(results))
    numbers = {effect.name: j / 10 for j, effect in enumerate(effects.EFFECTS)}
    value = numbers['threshold 0.3']
    cells = ['threshold 0.3', 'as it is']
    for first in (value, 10 + value):
        cells += [f'{first:.1f} (+{value:.1f} ± 0.3)', '20.0 (-1.0)', '0.500 (+0.250)']
    row = f'| {" | ".join(cells)} |'
    assert row in filled.splitlines()
    (templates,) = [line for line in filled.splitlines() if line.startswith("| ImageNet's 80 |")]
    assert templates.endswith('| - | - | - |')
    low, high = numbers['threshold 0.2'], numbers['threshold 0.6']
    assert (
        f'| threshold of the background plane | +{low:.1f} … +{high:.1f} | -1.0 | '
        f'+{low:.1f} … +{high:.1f} | -1.0 |'
    ) in filled
    assert 'Measured by `do it` on 7 images of the shapes world' in filled
    # writing it twice changes nothing, and the prose stays
    assert effects_page.fill(filled, effects_page.blocks(results)) == filled
    assert filled.count('## ') == page.count('## ')
    with pytest.raises(ValueError, match='expected places for'):
        effects_page.fill('no places', effects_page.blocks(results))


def test_the_committed_page_is_that_of_the_committed_results():
    results = json.loads((ROOT / 'docs/protocol.json').read_text())
    page = (ROOT / 'docs/protocol.md').read_text()
    names = [effect.name for effect in effects.EFFECTS]
    for model in results['models'].values():
        assert [row['name'] for row in model['rows']] == names
    assert effects_page.fill(page, effects_page.blocks(results)) == page


def test_missing_files_are_named(data, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'a shapes world in .*; make it with make demo'):
        run.check_files([], str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r'for CoDe, but gone.pth does not exist'):
        run.check_files([('CoDe', MASKCLIP, 'gone.pth')], str(data))
    assert isinstance(run.parse_args([]), argparse.Namespace)
