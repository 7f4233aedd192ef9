"""What the protocol moves: measured as the rows say, and written as it was measured."""

import json
from pathlib import Path

import numpy as np
import pytest

import code_mm  # noqa: F401  so that projects can be imported
from projects.dense_clip.protocol_effects import effects, effects_page, measure, run
from projects.shapes_world.study.report import fill

ROOT = Path(__file__).parents[2]
MASKCLIP = str(ROOT / 'projects/shapes_world/configs/maskclip_shapes-hard.py')


def test_scores_are_those_of_the_changed_protocol(shapes_folder, tmp_path, monkeypatch):
    few = (
        effects.Effect(effects.PLAIN, 'plain', {}),
        effects.Effect('threshold 0.2', 'threshold', effects.threshold(0.2)),
        effects.Effect('images of 96 pixels', 'resize', effects.pipeline(96)),
    )
    monkeypatch.setattr(run, 'EFFECTS', few)
    words = ['--model', 'MaskCLIP', MASKCLIP, 'none', '--data', str(shapes_folder)]
    words += ['--work-dir', str(tmp_path), '--only', 'threshold', 'resize']
    run.main(words)
    model = json.loads((tmp_path / 'some.json').read_text())['models']['MaskCLIP']
    plain, lower, larger = model['rows']
    change = lower['metrics']['mIoU'] - plain['metrics']['mIoU']
    assert change and lower['change']['mIoU'] == pytest.approx(change)
    assert lower['changed'] == {'model.background_threshold': [0.4, 0.2]}
    assert 'dataset.resize' in larger['changed'] and larger['metrics'] != plain['metrics']
    # a second run reads what is there
    monkeypatch.setattr(measure, '_run', lambda *args: pytest.fail('measured again'))
    run.main(words)
    again = json.loads((tmp_path / 'some.json').read_text())['models']['MaskCLIP']
    assert again['rows'] == model['rows']


def test_the_error_of_a_difference(tmp_path):
    """Two classes, each in every image alike: mIoU is a mean over images, the error known."""
    rng = np.random.default_rng(1)
    union = np.full((200, 2), 100)
    first, second = rng.integers(0, 101, (2, 200, 2))
    for name, intersect in dict(a=first, b=second).items():
        np.savez(tmp_path / f'{name}.npz', intersect=intersect, union=union)
    found = measure.difference_error(tmp_path / 'a.npz', tmp_path / 'b.npz', draws=4000)
    per_image = (first - second).mean(1)  # percent
    assert found == pytest.approx(per_image.std() / np.sqrt(200), rel=0.05)
    assert measure.difference_error(tmp_path / 'a.npz', tmp_path / 'a.npz') == 0
    assert measure.miou(first.sum(0), union.sum(0)) == pytest.approx(first.mean())
    np.savez(tmp_path / 'c.npz', intersect=first[:9], union=union[:9])
    with pytest.raises(ValueError, match=r'the same images, but got \[9, 200\]'):
        measure.difference_error(tmp_path / 'a.npz', tmp_path / 'c.npz')


def test_the_committed_page_is_that_of_the_committed_results():
    results = json.loads((ROOT / 'docs/protocol.json').read_text())
    page = (ROOT / 'docs/protocol.md').read_text()
    names = [effect.name for effect in effects.EFFECTS]
    for model in results['models'].values():
        assert [row['name'] for row in model['rows']] == names
    assert fill(page, effects_page.blocks(results), 'effects') == page


def test_missing_files_are_named(shapes_folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'a shapes world in .*; make it with make demo'):
        run.check_files([], str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r'for CoDe, but gone.pth does not exist'):
        run.check_files([('CoDe', MASKCLIP, 'gone.pth')], str(shapes_folder))
