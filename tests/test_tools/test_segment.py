"""tools/segment.py as a user runs it, on a tiny model."""

import errno
import importlib
import io
import json
import re
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from check_classes import otsu_threshold
from mmengine.config import Config
from PIL import Image
from segment import claim_folder
from tiny_model import code_config, tiny_code

from code_mm.apis import CoDeInferencer
from code_mm.apis.results import checksum, read_record

ROOT = Path(__file__).resolve().parents[2]
CLASSES = 'cat, grey sofa'
FRAMES = [f'{i:06d}' for i in range(3)]


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A tiny model, a folder with two photos, a text called .jpg and a short video."""
    folder = tmp_path_factory.mktemp('place')
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    config = code_config(
        background_threshold=0.45,
        data_preprocessor=dict(
            type='SegDataPreProcessor', mean=[127.0] * 3, std=[60.0] * 3, bgr_to_rgb=True
        ),
    )
    cfg = Config(dict(default_scope='mmseg', model=config, test_pipeline=pipeline))
    cfg.dump(folder / 'tiny.py')
    torch.save({'state_dict': tiny_code().state_dict()}, folder / 'tiny.pth')
    (folder / 'photos').mkdir()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 24, 32, 3), np.uint8)
    for name, image in zip('ab', images, strict=False):
        cv2.imwrite(str(folder / f'photos/{name}.png'), image)
    write_video(folder / 'clip.avi', images[2:])
    return folder


@pytest.fixture
def run(place, monkeypatch, capsys):
    """``run('segment', ...)``: exit status and output of a tool, without a new process."""
    monkeypatch.syspath_prepend(ROOT / 'tools')
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')
    monkeypatch.chdir(place)

    def run_tool(name, *args, model=True):
        options = ['--config', 'tiny.py', '--checkpoint', 'tiny.pth'] if model else []
        argv = [f'{name}.py', *map(str, args), *options, '--device', 'cpu']
        monkeypatch.setattr(sys, 'argv', argv)
        spec = importlib.util.spec_from_file_location(name, ROOT / 'tools' / f'{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        status = 0
        try:
            module.run_or_explain(module.main)
        except SystemExit as end:
            status = end.code
        said = capsys.readouterr()
        return status, said.out + said.err

    yield run_tool
    sys.modules.pop('model_options', None)


def test_a_folder_as_the_inferencer_does_and_on_where_it_was(run, place, tmp_path):
    options = ('--classes', CLASSES, '--no-background', '--json', '--out', tmp_path)
    assert run('segment', 'photos/a.png', *options)[0] == 0
    inferencer = CoDeInferencer(place / 'tiny.py', place / 'tiny.pth', 'cpu', show_progress=False)
    expected = inferencer(place / 'photos/a.png', classes=CLASSES, background=False)
    found = np.asarray(Image.open(tmp_path / 'pred/a.png'))
    np.testing.assert_array_equal(found, expected['predictions'])
    before = (tmp_path / 'pred/a.png').stat().st_mtime_ns
    status, said = run('segment', 'photos', *options)
    assert status == 0 and '1 of 2 images were done already' in said
    assert (tmp_path / 'pred/a.png').stat().st_mtime_ns == before
    kinds = dict(vis='png', pred='png', json='json')
    written = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob('*') if p.is_file()}
    names = {f'{kind}/{name}.{end}' for kind, end in kinds.items() for name in 'ab'}
    assert written == {'settings.json', *names}
    assert all(name in said for name in ('cat', 'grey sofa', 'share of all pixels'))
    status, said = run('segment', 'photos', '--classes', 'cat, dog', '--out', tmp_path)
    assert status == 2 and 'other settings (classes:' in said
    status, said = run('segment', 'photos', *options, '--overwrite')
    assert status == 0 and 'done already' not in said
    assert (tmp_path / 'pred/a.png').stat().st_mtime_ns > before


def test_a_video_frame_by_frame(run, tmp_path):
    options = ('--classes', CLASSES, '--out', tmp_path, '--batch-size', 2)
    status, said = run('segment', 'clip.avi', *options)
    made_from = [read_record(path) for path in sorted((tmp_path / 'vis/clip').iterdir())]
    assert [one['frame'] for one in made_from] == [0, 1, 2]
    assert status == 0, said
    assert sorted(p.stem for p in (tmp_path / 'pred/clip').iterdir()) == FRAMES
    video = cv2.VideoCapture(str(tmp_path / 'vis/clip.mp4'))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 3 and video.get(cv2.CAP_PROP_FPS) == 5
    (tmp_path / 'vis/clip/000001.jpg').unlink()
    status, said = run('segment', 'clip.avi', *options)
    assert status == 0 and '2 of 3 frames' in said


def write_video(path, images):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 5, (32, 24))
    for image in images:
        writer.write(image)
    writer.release()


def frames_of(path):
    return int(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT))


def test_videos_of_one_name_and_a_shorter_one_over_a_longer(run, tmp_path):
    rng, out = np.random.default_rng(1), tmp_path / 'out'
    images = rng.integers(0, 256, (8, 24, 32, 3), np.uint8)
    (tmp_path / 'B').mkdir()
    (tmp_path / 'B/notes.txt').write_text('a folder of videos may hold more')
    videos = tmp_path / 'v.avi', tmp_path / 'B/v.avi'
    write_video(videos[0], images[:4])
    write_video(videos[1], images[4:6])
    options = ('--classes', CLASSES, '--out', out)
    assert run('segment', videos[0], *options)[0] == 0
    status, said = run('segment', videos[0], tmp_path / 'B', *options)
    assert status == 0 and '4 of 4 frames' in said and '2 of 2 frames' not in said
    assert frames_of(out / 'vis/v.mp4') == 4 and frames_of(out / 'vis/B/v_avi.mp4') == 2
    write_video(videos[0], images[5:])
    status, said = run('segment', videos[0], *options)
    assert status == 0 and 'done already' not in said and frames_of(out / 'vis/v.mp4') == 3
    for kind in ('vis', 'pred'):
        assert sorted(p.stem for p in (out / kind / 'v').iterdir()) == FRAMES


def test_a_full_disk_is_one_sentence_and_the_next_start_goes_on(run, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, 'No space left on device')

    options = ('clip.avi', '--classes', CLASSES, '--out', tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr('code_mm.apis.results.label_image', full)
        status, said = run('segment', *options)
    assert status == 2 and 'Traceback' not in said
    path = tmp_path / 'pred/clip/000000.png'
    assert f'segment.py: {path}: No space left on device; free some space there' in said
    assert not list(path.parent.iterdir())
    (tmp_path / 'settings.json').write_bytes(b'')
    assert run('segment', *options)[0] == 0 and frames_of(tmp_path / 'vis/clip.mp4') == 3


def test_results_of_other_settings_are_not_taken_for_new_ones(run, tmp_path):
    options = ('--out', tmp_path, '--classes')
    assert run('segment', 'photos', *options, CLASSES)[0] == 0
    assert run('segment', 'photos/a.png', *options, 'dog, tree', '--overwrite')[0] == 0
    status, said = run('segment', 'photos', *options, 'dog, tree')
    assert status == 0 and '1 of 2 images were done already' in said
    settings = json.loads((tmp_path / 'settings.json').read_text())
    found = {read_record(tmp_path / f'pred/{name}.png')['settings'] for name in 'ab'}
    assert found == {checksum(settings)}
    status, said = run('segment', 'photos', *options, 'dog, tree', '--opacity', 0.2)
    assert status == 2 and 'opacity: 0.6 there, 0.2 now' in said


def test_a_folder_is_of_one_kind_of_run(tmp_path):
    folder = tmp_path / 'out'
    settings = dict(classes=('cat', 'hündchen'), threshold=None)
    for _ in range(2):
        claim_folder(folder, settings, False)
    told = r"\['cat', 'hündchen'\] there, \['cat'\] now.*--overwrite"
    with pytest.raises(ValueError, match=told):
        claim_folder(folder, dict(settings, classes=('cat',)), False)
    for damaged in ('', '{"classes', '[]'):
        (folder / 'settings.json').write_text(damaged)
        claim_folder(folder, settings, False)
        assert json.loads((folder / 'settings.json').read_text())['threshold'] is None


def test_inputs_that_cannot_be_segmented_do_not_end_the_run(run, place, tmp_path):
    (tmp_path / 'broken.mp4').write_bytes(b'no video' * 50)
    (tmp_path / 'empty').mkdir()
    whole = (place / 'clip.avi').read_bytes()
    (tmp_path / 'cut.avi').write_bytes(whole[: len(whole) // 2])
    names = ('broken.mp4', 'empty', 'cut.avi', 'nowhere.png')
    bad = [tmp_path / name for name in names]
    status, said = run('segment', *bad, 'photos', '--classes', CLASSES, '--out', tmp_path / 'out')
    assert status == 1 and '4 inputs were not read; the others are done' in said
    for name in names:
        assert f'not read: {tmp_path / name}: ' in said
    assert {p.name for p in (tmp_path / 'out/pred').glob('*.png')} == {'a.png', 'b.png'}


def test_an_unreadable_image_among_others(run, place, tmp_path):
    (tmp_path / 'text.jpg').write_text('no image')
    inputs = ('photos/a.png', tmp_path / 'text.jpg', '--classes', 'names.txt')
    status, said = run('segment', *inputs, '--out', tmp_path / 'out')
    assert status == 2 and "class names, but got 'names.txt'" in said
    (place / 'names.txt').write_text('cat\n\na man, sitting\n', encoding='utf-8')
    status, said = run('segment', *inputs, '--out', tmp_path / 'out')
    assert status == 1
    assert 'text.jpg: broken_image (8 bytes that are no image)' in said
    assert 'a man, sitting' in said and (tmp_path / 'out/pred/a.png').is_file()


@pytest.mark.parametrize(
    'args, message',
    [
        (('photos', '--classes', 'cat,'), 'empty name'),
        (('nowhere.jpg', '--classes', CLASSES), "not 'nowhere.jpg'"),
        (('photos', '--classes', 'cat ' * 40 + ', dog'), "'cat cat .* where 18 fit"),
        (('photos', '--classes', CLASSES, '--background-threshold', '2'), r'in \(0, 1\)'),
        (('photos', '--classes', CLASSES, '--cfg-options', 'modle.a=1'), 'modle'),
    ],
)
def test_mistakes_end_with_one_line(run, tmp_path, args, message):
    status, said = run('segment', *args, '--out', tmp_path / 'out')
    assert status == 2 and re.search(message, said), said
    assert 'Traceback' not in said
    assert not (tmp_path / 'out').exists()


def test_the_demos_model_is_found_here_and_after_a_move(run, tmp_path, monkeypatch):
    import model_options

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_options, 'PHOTO_PACKAGES', ('no_such_package',))
    monkeypatch.setattr(model_options, 'ROOT', tmp_path / 'checkout')
    monkeypatch.setattr('torch.hub._hub_dir', str(tmp_path / 'hub'))
    cv2.imwrite('a.png', np.zeros((8, 8, 3), np.uint8))
    status, said = run('segment', 'a.png', '--classes', CLASSES, model=False)
    assert status == 2 and 'make install' in said and 'make demo' in said
    status, said = run('segment', 'a.png', '--classes', CLASSES, '--checkpoint', 'x', model=False)
    assert status == 2 and 'expected --config beside --checkpoint' in said
    folder = tmp_path / 'checkout/work_dirs/shapes_demo/seed_0/train'
    folder.mkdir(parents=True)
    (folder / 'last_checkpoint').write_text('/elsewhere/iter_600.pth')
    assert model_options.find_demo() is None
    (folder / 'iter_600.pth').write_text('')
    assert model_options.find_demo() == folder / 'iter_600.pth'


@pytest.mark.parametrize(
    ('answer', 'expected'), [('y\n', True), ('Yes\n', True), ('\n', False), ('no\n', False)]
)
def test_a_person_is_asked_before_weights_are_fetched(
    tmp_path, monkeypatch, capsys, answer, expected
):
    import model_options

    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('torch.hub._hub_dir', str(tmp_path))
    assert not model_options.may_use_photo_model(yes=False)  # nobody is there to be asked
    assert model_options.may_use_photo_model(yes=True)
    monkeypatch.setattr(sys, 'stdin', terminal)
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
    assert model_options.may_use_photo_model(yes=False) == expected
    said = capsys.readouterr().err
    assert '/ViT-B-16.pt (350 MB, licence MIT' in said and '[y/N]' in said
    (tmp_path / 'checkpoints').mkdir()
    (tmp_path / 'checkpoints/ViT-B-16.pt').touch()
    assert model_options.may_use_photo_model(yes=False) and not capsys.readouterr().err


def test_class_names_are_compared_and_a_threshold_is_suggested(run, place, tmp_path):
    options = ('--classes', 'boat, cat, Cat', '--images', 'photos', '--quantile', 0.9)
    status, said = run('check_classes', *options)
    assert status == 0, said
    assert '1 of 3 pairs' in said and 'Cat' in said and '"cat|Cat"' in said
    inferencer = CoDeInferencer(place / 'tiny.py', place / 'tiny.pth', 'cpu', show_progress=False)
    keys = dict(background_threshold=0.9, return_scores=True)
    found = inferencer('photos', classes='boat, cat, Cat', **keys)
    best = np.stack([scores[1:].max(0) for scores in found['scores']])
    threshold, separability = otsu_threshold(np.histogram(best, 256, (0, 1))[0])
    assert f'suggested: --background-threshold {threshold:.2f} (2 images' in said
    assert f'separability {separability:.2f}' in said
    options = ('--classes', 'boat, cat', '--images', 'photos', '--max-images')
    assert '1 images' in run('check_classes', *options, 1)[1]
    (tmp_path / 'b.png').write_text('no image')
    shutil.copy(place / 'photos/a.png', tmp_path)
    status, said = run('check_classes', '--classes', 'boat, cat', '--images', tmp_path)
    assert status == 1 and '(1 images' in said and f'not read: {tmp_path}/b.png: broken' in said
    status, said = run('check_classes', '--classes', 'boat, cat', '--max-images', 0)
    assert status == 2 and 'max-images >= 1' in said
