import json

import pytest

from code_mm.datasets.preparation.caption_pairs import (
    Pair,
    is_coco,
    read_coco_pairs,
    read_folder_pairs,
    read_list_pairs,
)

COCO = dict(
    info={},
    images=[
        dict(id=7, file_name='7.jpg'),
        dict(id=3, file_name='3.jpg'),
        dict(id=9, file_name='9.jpg'),
    ],
    annotations=[
        dict(id=5, image_id=3, caption='a dog'),
        dict(id=2, image_id=3, caption='two dogs'),
        dict(id=4, image_id=7, caption='a cat '),
        dict(id=6, image_id=1, caption='of no image'),
    ],
)


@pytest.fixture
def coco(tmp_path):
    path = tmp_path / 'captions_val2017.json'
    path.write_text(json.dumps(COCO))
    return str(path)


def test_all_captions_of_coco(coco):
    assert read_coco_pairs(coco, 'val') == [
        Pair('val/7.jpg', 'a cat ', dict(image_id=7, annotation_id=4)),
        Pair('val/3.jpg', 'two dogs', dict(image_id=3, annotation_id=2)),
        Pair('val/3.jpg', 'a dog', dict(image_id=3, annotation_id=5)),
        Pair('val/9.jpg', None, dict(image_id=9, annotation_id=None)),
        Pair('', 'of no image', dict(image_id=1)),
    ]


def test_one_caption_per_image_of_coco(coco):
    assert [p.caption for p in read_coco_pairs(coco, '', 'first')][:2] == ['a cat ', 'two dogs']
    drawn = {seed: read_coco_pairs(coco, '', 'random', seed)[1].caption for seed in range(20)}
    assert set(drawn.values()) == {'a dog', 'two dogs'}
    assert drawn[3] == read_coco_pairs(coco, '', 'random', 3)[1].caption
    with pytest.raises(ValueError, match=r"one of \('all', 'first', 'random'\), but got best"):
        read_coco_pairs(coco, '', 'best')


def test_other_files_of_coco(tmp_path):
    path = tmp_path / 'instances.json'
    path.write_text(json.dumps(COCO | dict(annotations=[dict(id=1, image_id=3, bbox=[])])))
    with pytest.raises(ValueError, match='to be a COCO captions file'):
        read_coco_pairs(str(path), '')
    path.write_text(json.dumps(dict(captions=[])))
    with pytest.raises(ValueError, match=r"but it has \['captions'\]"):
        read_coco_pairs(str(path), '')


def test_which_json_is_coco(coco, tmp_path):
    (tmp_path / 'list.json').write_text(' \n[{"image": "a"}]')
    assert is_coco(coco)
    assert not is_coco(str(tmp_path / 'list.json'))
    assert not is_coco('a.csv')


def test_lists_keep_other_columns(tmp_path):
    path = tmp_path / 'a.csv'
    path.write_text(
        'file,text,nouns,id\n1.jpg,a dog,dog; leash,5\n,no image,,6\na,b\n3.jpg,c,[1,7\n'
    )
    skips = []
    pairs = read_list_pairs(str(path), 'root', 'file', 'text', skips=skips)
    assert pairs == [
        Pair('root/1.jpg', 'a dog', dict(nouns=['dog', ' leash'], id='5')),
        Pair('', 'no image', dict(nouns=None, id='6')),
    ]
    assert [(skip.reason, skip.key) for skip in skips] == [
        ('bad_row', 'a.csv:4'),
        ('bad_row', 'a.csv:5'),
    ]


def test_images_with_texts_beside(tmp_path):
    for name, text in {
        'b/2.jpg': '',
        'a.PNG': '',
        'a.txt': '\ufeffa café',
        'c.txt': 'x',
        'd.gif': '',
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding='utf-8')
    assert read_folder_pairs(str(tmp_path)) == [
        Pair(str(tmp_path / 'a.PNG'), 'a café', {}),
        Pair(str(tmp_path / 'b/2.jpg'), None, {}),
        Pair('', 'x', {}),
    ]
