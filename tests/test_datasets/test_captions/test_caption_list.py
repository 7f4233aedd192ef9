import json

import numpy as np
import pytest

from code_mm.datasets.captions import CaptionListDataset

ROWS = [
    dict(image='a/1.jpg', caption='a dog, "Rex", and a cat'),
    dict(image='/abs/2.jpg', caption='café'),
]
CONTENT = {
    'list.json': json.dumps(ROWS),
    'list.jsonl': '\n'.join([*map(json.dumps, ROWS), '', '']),
    'list.csv': '\ufeffcaption,image\n"a dog, ""Rex"", and a cat",a/1.jpg\ncafé,/abs/2.jpg\n',
    'LIST.CSV': '# mine\r\nimage,caption,\r\na/1.jpg,"a dog, ""Rex"", and a cat",\r\n'
    '# a comment\r\n/abs/2.jpg,café\r\n',
    'utf16.jsonl': '\n'.join(map(json.dumps, ROWS)),
    'commas.jsonl': '# rows\n' + ',\n'.join(map(json.dumps, ROWS)),
    'list.tsv': 'image\tcaption\na/1.jpg\ta dog, "Rex", and a cat\n/abs/2.jpg\tcafé\n',
}


@pytest.fixture
def read(tmp_path):
    """The data set of a list with this text."""

    def read(name, text, **kwargs):
        encoding = 'utf-16' if 'utf16' in name else 'utf-8'
        (tmp_path / name).write_text(text, encoding)
        return CaptionListDataset(name, data_root=str(tmp_path), **kwargs)

    return read


@pytest.mark.parametrize('name', CONTENT)
def test_all_kinds_hold_the_same_rows(read, tmp_path, name):
    dataset = read(name, CONTENT[name], data_prefix=dict(img_path='images'))
    found = [dataset[i] for i in range(len(dataset))]
    assert [sample['caption'] for sample in found] == [row['caption'] for row in ROWS]
    paths = [f'{tmp_path}/images/a/1.jpg', '/abs/2.jpg']
    assert [sample['img_path'] for sample in found] == paths
    lines = dict.fromkeys(('list.csv', 'list.tsv', 'commas.jsonl'), (2, 3)) | {'LIST.CSV': (3, 5)}
    assert [s['sample_key'] for s in found] == [f'{name}:{i}' for i in lines.get(name, (1, 2))]
    assert dataset.skipped == {}


def test_one_of_several_captions_is_drawn_at_each_visit(read):
    rows = [
        dict(image='a.jpg', caption=['a dog', ' ', 'a cat']),
        dict(image='b.jpg', caption=[' ', '']),
    ]
    dataset = read('x.json', json.dumps(rows))

    def visits():
        np.random.seed(0)
        return [dataset[0]['caption'] for _ in range(40)]

    first = visits()
    assert set(first) == {'a dog', 'a cat'} and first == visits()
    assert dataset.skipped_keys == {'empty_caption': ['x.json:2']}


def test_own_columns_and_no_header(read):
    keys = dict(columns=['text', 'file'], image_key='file', caption_key='text')
    dataset = read('cc3m.tsv', 'a "quoted dog\thttp/1.jpg\na cat\thttp/2.jpg\n', **keys)
    # tab-separated text is taken literally: the stray quote swallows no row
    assert [dataset[i]['caption'] for i in range(2)] == ['a "quoted dog', 'a cat']


def test_nouns_of_a_column(read):
    rows = [dict(image='a', caption='c', nouns=['cat', 'dog', 'cat']), dict(image='b', caption='c')]
    dataset = read('x.json', json.dumps(rows))
    assert [dataset[i].get('nouns') for i in range(2)] == [['cat', 'dog'], None]
    texts = ['"[""a b"", ""c""]"', 'a b; c;', '', '[1]', '[oops']
    text = '\n'.join(['image,caption,nouns', *(f'i,c,{nouns}' for nouns in texts)])
    dataset = read('x.csv', text)
    assert [dataset[i].get('nouns') for i in range(3)] == [['a b', 'c'], ['a b', 'c'], None]
    assert dataset.skipped_keys == {'bad_fields': ['x.csv:5'], 'bad_row': ['x.csv:6']}
    off = read('x.csv', text, nouns_key=None)
    assert len(off) == 5 and 'nouns' not in off[0]


def test_bad_rows_are_counted_by_file_and_line(read):
    lines = [
        '{"image": "1.jpg", "caption": "a dog"}',
        '{"image": "2.jpg", "caption": ',
        '',
        '[1, 2]',
        '{"image": "", "caption": "x"}',
        '{"image": "5.jpg"}',
        '{"image": "6.jpg", "caption": "  "}',
        '{"image": 7, "caption": "x"}',
    ]
    assert read('x.jsonl', '\n'.join(lines)).skipped_keys == {
        'bad_row': ['x.jsonl:2', 'x.jsonl:4'],
        'missing_image': ['x.jsonl:5', 'x.jsonl:8'],
        'missing_caption': ['x.jsonl:6'],
        'empty_caption': ['x.jsonl:7'],
    }
    dataset = read('x.tsv', 'image\tcaption\n1.jpg\ta dog\n2.jpg\n3.jpg\ta\tb\n')
    assert dataset.skipped_keys == {'bad_row': ['x.tsv:3', 'x.tsv:4']}


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('x.txt', 'a', r"end with one of .*\.jsonl.*'.*x\.txt'"),
        ('x.json', '{"a": 1}', 'expected a json list of objects, got dict'),
        ('x.json', '[{', r'x\.json: not valid json'),
        ('x.jsonl', '{"image": "a", "text": "b"}', r"\['caption'\] are missing among"),
        ('x.csv', 'image,text\na,b\n', r"\['image', 'text'\]; set image_key"),
        ('x.csv', 'image,caption\na,"b" c\n', r'x\.csv, line 2: .*must be quoted'),
        ('x.csv', 'image,caption\n', r'rows with image and caption, but got none'),
    ],
)
def test_files_that_cannot_be_used(read, name, text, message):
    with pytest.raises(ValueError, match=message):
        read(name, text)
    with pytest.raises(FileNotFoundError, match=r'ann_file .*absent\.csv'):
        CaptionListDataset('absent.csv')
