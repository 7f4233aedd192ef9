import json

import numpy as np
import pytest

from code_mm.datasets.transforms import PackCaptionInputs
from projects.mixing import AddCaption

TRANSFORMS = [
    dict(type='LoadNouns'),
    dict(type='SelectNouns', num_nouns=2),
    dict(type='TokenizeCaption', context_length=24, noun_context_length=8),
]
ROWS = [
    dict(image='a.jpg', caption=' a star and a boat ', nouns=['star', 'boat']),
    dict(image='b.jpg', caption='only a fish', nouns=['fish']),
    dict(image='c.jpg', caption='a red star', nouns=['red', 'star']),
    dict(image='c.jpg', caption='a blue boat', nouns=['blue', 'boat']),
    dict(image='d.jpg', caption=''),
]


@pytest.fixture
def add(tmp_path):
    (tmp_path / 'captions.jsonl').write_text('\n'.join(map(json.dumps, ROWS)))
    return AddCaption(str(tmp_path / 'captions.jsonl'), transforms=TRANSFORMS)


def sample(path):
    labels = np.ones((8, 8), np.uint8)
    image = np.zeros((8, 8, 3), np.uint8)
    return dict(img_path=str(path), img=image, gt_seg_map=labels, seg_fields=['gt_seg_map'])


def test_an_image_gets_its_caption_and_keeps_its_labels(add, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / 'a.jpg', 'a.jpg', './x/../a.jpg'):  # any spelling of the path
        found = add(sample(path))
        assert found['caption'] == 'a star and a boat'
        assert sorted(found['selected_nouns']) == ['boat', 'star']
        assert found['sample_key'] == 'captions.jsonl:1'
        assert found['caption_ids'].shape == (24,)
        packed = PackCaptionInputs(require_caption=False)(found)['data_samples']
        assert packed.gt_sem_seg.data.eq(1).all() and packed.noun_ids.shape == (2, 8)


def test_other_folders_and_columns_and_one_of_several_captions(add, tmp_path):
    file = tmp_path / 'list.csv'
    file.write_text('file,text,words\nx/a.jpg,a star by a boat,star;boat\n')
    keys = dict(image_key='file', caption_key='text', nouns_key='words')
    found = AddCaption(str(file), '/images', **keys)(sample('/images/x/a.jpg'))
    assert found['caption'] == 'a star by a boat' and found['nouns'] == ['star', 'boat']
    drawn = {add(sample(tmp_path / 'c.jpg'))['caption'] for _ in range(40)}
    assert drawn == {'a red star', 'a blue boat'}


def test_an_image_without_usable_caption_stays_a_labelled_one(add, tmp_path):
    for name in ('b.jpg', 'b.jpg', 'e.jpg'):  # one noun of two; not in the list
        before = sample(tmp_path / name)
        after = add(dict(before))
        assert after.keys() == before.keys()
    assert add.ledger.counts() == dict(empty_caption=1, few_nouns=2)  # of the list, of visits
    packed = PackCaptionInputs(require_caption=False)(after)['data_samples']
    assert 'gt_sem_seg' in packed and 'caption_ids' not in packed


def test_a_list_of_other_images_is_noticed(add, tmp_path):
    others = [sample(tmp_path / 'elsewhere' / f'{i}.jpg') for i in range(600)]
    with pytest.raises(ValueError, match=r'none of 500 images.*data_prefix'):
        list(map(add, others))
    add(sample(tmp_path / 'a.jpg'))
    list(map(add, others))  # the paths are right; many images have no caption
    (tmp_path / 'empty.jsonl').write_text('{"image": "a.jpg", "caption": ""}\n')
    with pytest.raises(ValueError, match='but got none'):
        AddCaption(str(tmp_path / 'empty.jsonl'))
