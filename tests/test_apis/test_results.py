import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from coco_object_labels import decode_mask
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image

from code_mm.apis.class_query import ClassQuery
from code_mm.apis.input_images import InputImage, list_images, origin_of
from code_mm.apis.results import ResultFolders, Segmentation, checksum, label_image, read_record

LABELS = np.array([[0, 0, 2], [0, 2, 2]])
QUERY = ClassQuery(('cat', 'grüne Katze'), 0.4)


SETTINGS = dict(classes=['cat'], weights='w')
ORIGIN = dict(source='/x/a.jpg', sha256='0' * 64)
INPUT = InputImage('a', 'x/a.jpg', ORIGIN)


def segmentation(scores=None, image=INPUT):
    sample = SegDataSample(pred_sem_seg=PixelData(data=torch.from_numpy(LABELS)[None]))
    if scores is not None:
        sample.seg_logits = PixelData(data=scores)
    pixels = np.full((*LABELS.shape, 3), 100, np.uint8)
    return Segmentation(image, pixels, sample, QUERY)


def test_shares_masks_and_scores():
    result = segmentation(scores=torch.rand(3, 2, 3))
    assert result.labels.dtype == np.int32
    assert result.shares == {'background': 0.5, 'cat': 0.0, 'grüne Katze': 0.5}
    assert list(result.masks) == ['background', 'grüne Katze']
    np.testing.assert_array_equal(result.masks['grüne Katze'], LABELS == 2)
    assert result.scores.shape == (3, 2, 3)
    with pytest.raises(ValueError, match='scores were not kept'):
        assert segmentation().scores


def test_files_of_one_image(tmp_path):
    folders, image = ResultFolders(tmp_path, json='json', settings=SETTINGS), INPUT
    assert not folders.complete(image)
    overlay = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    folders.write(segmentation(), overlay)
    assert folders.complete(image) and not folders.complete(image._replace(name='b'))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / 'vis/a.png')), overlay)
    labels = Image.open(tmp_path / 'pred/a.png')
    np.testing.assert_array_equal(np.asarray(labels), LABELS)
    assert tuple(np.asarray(labels.convert('RGB'))[0, -1]) == QUERY.colours[2]
    found = json.loads((tmp_path / 'json/a.json').read_text())
    segments, made_from = found.pop('segments'), found.pop('made_from')
    assert made_from == dict(ORIGIN, weights='w', settings=checksum(SETTINGS))
    for kind in ('vis', 'pred', 'json'):
        assert read_record(folders.path(kind, 'a')) == made_from
    assert found == dict(
        image='x/a.jpg', height=2, width=3, classes=list(QUERY.names), background_threshold=0.4
    )
    assert [(s['label'], s['name'], s['area'], s['share']) for s in segments] == [
        (0, 'background', 3, 0.5),
        (2, 'grüne Katze', 3, 0.5),
    ]
    np.testing.assert_array_equal(
        decode_mask(segments[1]['segmentation'], *LABELS.shape), LABELS == 2
    )
    assert len([p for p in tmp_path.rglob('*') if p.is_file()]) == 3


def test_only_what_is_asked_for(tmp_path):
    ResultFolders(tmp_path, vis='').write(segmentation(), None)
    assert [p.name for p in tmp_path.iterdir()] == ['pred']
    image = InputImage('a', 'nowhere/a.jpg')
    assert not ResultFolders('').complete(image) and ResultFolders('').place(image) is image


OVERLAY = np.zeros((5, 4, 3), np.uint8)


def files(folder, *names):
    """Two files of one name in folders of their own, with other content."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(bytes([number]))
    return [folder / name for name in names]


def place_and_write(folder, source, **settings):
    """Results of a run of its own; its name, and whether it was complete before."""
    folders = ResultFolders(folder, vis_suffix='.jpg', settings=settings)
    image = folders.place(list_images(source)[0])
    before = folders.complete(image)
    folders.write(segmentation(image=image), OVERLAY)
    assert folders.complete(image)
    return image.name, before


def test_results_are_of_one_input_whatever_runs_came_before(tmp_path):
    out, (first, second, third) = tmp_path / 'out', files(tmp_path, 'A/a.png', 'B/a.png', 'B/a.jpg')
    names = {'a': first, 'a_png': second, 'a_jpg': third}
    for before in (False, True):
        for name, path in names.items():
            assert place_and_write(out, path) == (name, before)
    for name in names:
        record = read_record(out / f'vis/{name}.jpg')
        assert record == read_record(out / f'pred/{name}.png')
        content = Path(record['source']).read_bytes()
        assert record['sha256'] == hashlib.sha256(content).hexdigest()


def test_changed_content_and_settings_are_done_again_and_moved_files_are_not(tmp_path):
    out, (path,) = tmp_path / 'out', files(tmp_path, 'A/a.png')
    place_and_write(out, path)
    path.write_bytes(b'other')
    assert place_and_write(out, path) == ('a', False)
    assert place_and_write(out, path, classes='b') == ('a', False)
    moved = path.rename(tmp_path / 'a.png')
    assert place_and_write(out, moved, classes='b') == ('a', True)
    (out / 'vis/a.jpg').write_bytes(b'')
    assert place_and_write(out, moved, classes='b') == ('a', False)


def test_arrays_are_told_by_their_content(tmp_path):
    black, white = (np.full((2, 3, 3), value, np.uint8) for value in (0, 255))
    assert place_and_write(tmp_path, black) == ('00000000', False)
    name, before = place_and_write(tmp_path, white)
    assert name == f'00000000_{origin_of(white)["sha256"][:16]}' and not before
    assert place_and_write(tmp_path, black) == ('00000000', True)


def test_label_maps_of_many_classes():
    labels = np.array([[0, 255], [256, 4000]])
    few = label_image(labels[:1], [(i, 0, 0) for i in range(256)])
    many = label_image(labels, [(0, 0, 0)] * 4001)
    assert few.mode == 'P' and few.convert('RGB').getpixel((1, 0)) == (255, 0, 0)
    np.testing.assert_array_equal(np.asarray(few), labels[:1])
    np.testing.assert_array_equal(np.asarray(many), labels)
