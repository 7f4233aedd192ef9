import json

import numpy as np
import pytest

from code_mm.datasets.transforms.add_caption import AddCaption
from code_mm.datasets.transforms.pack_caption_inputs import PackCaptionInputs
from code_mm.tokenizers import CLIPTokenizer

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
def captions(tmp_path):
    file = tmp_path / 'captions.jsonl'
    file.write_text('\n'.join(map(json.dumps, ROWS)))
    return file


def sample(path):
    return dict(
        img_path=str(path),
        img=np.zeros((8, 8, 3), np.uint8),
        gt_seg_map=np.ones((8, 8), np.uint8),
        seg_fields=['gt_seg_map'],
    )


def test_an_image_gets_its_caption_and_keeps_its_labels(captions, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    add = AddCaption(str(captions), transforms=TRANSFORMS)
    for path in (tmp_path / 'a.jpg', 'a.jpg', './x/../a.jpg'):  # any spelling of the path
        found = add(sample(path))
        assert found['caption'] == 'a star and a boat'
        assert sorted(found['selected_nouns']) == ['boat', 'star']
        assert found['sample_key'] == 'captions.jsonl:1'
        assert found['caption_ids'].equal(CLIPTokenizer().tokenize(['a star and a boat'], 24)[0])
        packed = PackCaptionInputs(require_caption=False)(found)['data_samples']
        assert packed.gt_sem_seg.data.eq(1).all() and packed.gt_sem_seg.data.shape == (1, 8, 8)
        assert packed.noun_ids.shape == (2, 8)


def test_other_folders_and_columns(tmp_path):
    file = tmp_path / 'list.csv'
    file.write_text('file,text,words\nx/a.jpg,a star by a boat,star;boat\n')
    add = AddCaption(
        str(file),
        data_prefix=str(tmp_path / 'images'),
        image_key='file',
        caption_key='text',
        nouns_key='words',
    )
    found = add(sample(tmp_path / 'images' / 'x' / 'a.jpg'))
    assert found['caption'] == 'a star by a boat' and found['nouns'] == ['star', 'boat']


def test_one_of_several_captions_is_drawn(captions, tmp_path):
    add = AddCaption(str(captions))
    np.random.seed(0)
    drawn = [add(sample(tmp_path / 'c.jpg'))['caption'] for _ in range(40)]
    assert set(drawn) == {'a red star', 'a blue boat'}


def test_an_image_without_usable_caption_stays_a_labelled_one(captions, tmp_path):
    add = AddCaption(str(captions), transforms=TRANSFORMS, max_warnings=1)
    for _ in range(3):
        before = sample(tmp_path / 'b.jpg')  # one noun of two
        assert add(dict(before)).keys() == before.keys()
    assert add.ledger.counts() == dict(empty_caption=1, few_nouns=3)  # of the list, of visits
    before = sample(tmp_path / 'e.jpg')  # not in the list
    after = add(dict(before))
    assert after.keys() == before.keys()
    packed = PackCaptionInputs(require_caption=False)(after)['data_samples']
    assert 'gt_sem_seg' in packed and 'caption_ids' not in packed
    with pytest.raises(KeyError, match='or set require_caption=False'):
        PackCaptionInputs()(after)


def test_a_list_of_other_images_is_noticed(captions, tmp_path):
    add = AddCaption(str(captions))
    with pytest.raises(ValueError, match=r'none of 500 images.*data_prefix'):
        for i in range(500):
            add(sample(tmp_path / 'elsewhere' / f'{i}.jpg'))
    add = AddCaption(str(captions))
    add(sample(tmp_path / 'a.jpg'))
    for i in range(600):  # the paths are right; many images have no caption
        add(sample(tmp_path / f'{i}.jpg'))


def test_a_list_without_captions_is_refused(tmp_path):
    file = tmp_path / 'empty.jsonl'
    file.write_text('{"image": "a.jpg", "caption": ""}\n')
    with pytest.raises(ValueError, match='but got none'):
        AddCaption(str(file))
    with pytest.raises(FileNotFoundError, match='ann_file'):
        AddCaption(str(tmp_path / 'nothing.jsonl'))
