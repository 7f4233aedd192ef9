import json

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image

from code_mm.apis.class_query import ClassQuery
from code_mm.apis.input_images import InputImage
from code_mm.apis.results import ResultFolders, Segmentation, claim_folder, label_image
from code_mm.datasets.preparation.coco_object_labels import decode_mask

LABELS = np.array([[0, 0, 2], [0, 2, 2]])
QUERY = ClassQuery(('cat', 'grüne Katze'), 0.4)


def segmentation(scores=None):
    sample = SegDataSample(pred_sem_seg=PixelData(data=torch.from_numpy(LABELS)[None]))
    if scores is not None:
        sample.seg_logits = PixelData(data=scores)
    image = np.full((*LABELS.shape, 3), 100, np.uint8)
    return Segmentation(InputImage('a', 'x/a.jpg'), image, sample, QUERY)


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
    folders = ResultFolders(tmp_path, json='json')
    assert not folders.complete('a')
    overlay = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    folders.write(segmentation(), overlay)
    assert folders.complete('a') and not folders.complete('b')
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / 'vis/a.png')), overlay)
    labels = Image.open(tmp_path / 'pred/a.png')
    np.testing.assert_array_equal(np.asarray(labels), LABELS)
    assert tuple(np.asarray(labels.convert('RGB'))[0, -1]) == QUERY.colours[2]
    found = json.loads((tmp_path / 'json/a.json').read_text())
    segments = found.pop('segments')
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
    assert not ResultFolders('').complete('a')


def test_label_maps_of_many_classes():
    labels = np.array([[0, 255], [256, 4000]])
    few = label_image(labels[:1], [(i, 0, 0) for i in range(256)])
    many = label_image(labels, [(0, 0, 0)] * 4001)
    assert few.mode == 'P' and few.convert('RGB').getpixel((1, 0)) == (255, 0, 0)
    np.testing.assert_array_equal(np.asarray(few), labels[:1])
    np.testing.assert_array_equal(np.asarray(many), labels)


def test_a_folder_is_of_one_kind_of_run(tmp_path):
    folder = tmp_path / 'out'
    settings = dict(classes=('cat', 'hündchen'), threshold=None)
    claim_folder(folder, settings)
    claim_folder(folder, settings)
    other = dict(settings, classes=('cat',))
    with pytest.raises(ValueError, match=r"classes: \['cat', 'hündchen'\] there, \['cat'\] now"):
        claim_folder(folder, other)
    claim_folder(folder, other, overwrite=True)
    with pytest.raises(ValueError, match='--overwrite'):
        claim_folder(folder, settings)
