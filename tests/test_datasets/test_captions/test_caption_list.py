import json

import pytest

from code_mm.datasets.captions import CaptionListDataset

ROWS = [
    dict(image='a/1.jpg', caption='a dog, "Rex", and a cat'),
    dict(image='2.jpg', caption='caf\u00e9 & a\ttable'),
    dict(image='/abs/3.jpg', caption='two birds'),
]


def write(folder, name, rows=ROWS):
    path = folder / name
    keys = list(dict.fromkeys(key for row in rows for key in row))
    if name.endswith('.json'):
        path.write_text(json.dumps(rows))
    elif name.endswith('.jsonl'):
        path.write_text('\n'.join(json.dumps(row) for row in rows) + '\n\n')
    elif name.endswith('.csv'):
        quoted = [
            ['"' + str(row.get(k, '')).replace('"', '""') + '"' for k in keys] for row in rows
        ]
        path.write_text('\n'.join(','.join(line) for line in [keys, *quoted]), encoding='utf-8-sig')
    else:
        lines = [[str(row.get(k, '')).replace('\t', ' ') for k in keys] for row in rows]
        path.write_text('\n'.join('\t'.join(line) for line in [keys, *lines]))
    return path.name


@pytest.mark.parametrize('suffix', ['json', 'jsonl', 'csv', 'tsv'])
def test_all_kinds_hold_the_same_rows(tmp_path, suffix):
    name = write(tmp_path, f'list.{suffix}')
    dataset = CaptionListDataset(name, data_root=str(tmp_path), data_prefix=dict(img_path='images'))
    captions = [row['caption'] for row in ROWS]
    if suffix == 'tsv':
        captions = [caption.replace('\t', ' ') for caption in captions]
    found = [dataset[i] for i in range(len(dataset))]
    assert [sample['caption'] for sample in found] == captions
    folder = f'{tmp_path}/images/'
    assert [sample['img_path'] for sample in found] == [
        f'{folder}a/1.jpg',
        f'{folder}2.jpg',
        '/abs/3.jpg',
    ]
    header = suffix in ('csv', 'tsv')
    assert [s['sample_key'] for s in found] == [f'{name}:{i + header}' for i in (1, 2, 3)]
    assert dataset.skipped == {}


def test_own_columns_and_no_header(tmp_path):
    (tmp_path / 'cc3m.tsv').write_text('a "quoted dog\thttp/1.jpg\na cat\thttp/2.jpg\n')
    dataset = CaptionListDataset(
        str(tmp_path / 'cc3m.tsv'),
        columns=['text', 'file'],
        image_key='file',
        caption_key='text',
    )
    # tab-separated text is taken literally: the stray quote swallows no row
    assert [dataset[i]['caption'] for i in range(2)] == ['a "quoted dog', 'a cat']


def test_nouns_of_a_column(tmp_path):
    rows = [dict(ROWS[0], nouns=['cat', 'dog', 'cat']), ROWS[1]]
    dataset = CaptionListDataset(write(tmp_path, 'x.json', rows), data_root=str(tmp_path))
    assert dataset[0]['nouns'] == ['cat', 'dog']
    assert 'nouns' not in dataset[1]
    texts = ['["a b", "c"]', 'a b; c;', '', '[1]', '[oops']
    rows = [dict(image=f'{i}', caption='c', nouns=text) for i, text in enumerate(texts)]
    dataset = CaptionListDataset(write(tmp_path, 'x.csv', rows), data_root=str(tmp_path))
    assert [dataset[i].get('nouns') for i in range(3)] == [['a b', 'c'], ['a b', 'c'], None]
    assert dataset.skipped_keys == {'bad_fields': ['x.csv:5'], 'bad_row': ['x.csv:6']}
    off = CaptionListDataset('x.csv', nouns_key=None, data_root=str(tmp_path))
    assert len(off) == 5
    assert 'nouns' not in off[0]


def test_bad_rows_are_counted_by_file_and_line(tmp_path):
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
    (tmp_path / 'x.jsonl').write_text('\n'.join(lines))
    dataset = CaptionListDataset('x.jsonl', data_root=str(tmp_path))
    assert len(dataset) == 1
    assert dataset.skipped_keys == {
        'bad_row': ['x.jsonl:2', 'x.jsonl:4'],
        'missing_image': ['x.jsonl:5', 'x.jsonl:8'],
        'missing_caption': ['x.jsonl:6'],
        'empty_caption': ['x.jsonl:7'],
    }
    (tmp_path / 'x.tsv').write_text('image\tcaption\n1.jpg\ta dog\n2.jpg\n3.jpg\ta\tb\n')
    dataset = CaptionListDataset('x.tsv', data_root=str(tmp_path))
    assert len(dataset) == 1
    assert dataset.skipped_keys == {'bad_row': ['x.tsv:3', 'x.tsv:4']}


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('x.txt', 'a', r"end with one of .*\.jsonl.*'.*x\.txt'"),
        ('x.json', '{"a": 1}', 'expected a json list of objects, got dict'),
        ('x.json', '[{', r'x\.json: not valid json'),
        ('x.json', '[{"img": "a", "caption": "b"}]', 'set image_key'),
        ('x.jsonl', '{"image": "a", "text": "b"}', r"\['caption'\] are missing among"),
        ('x.csv', 'image,text\na,b\n', r"\['image', 'text'\]; set image_key"),
        ('x.csv', 'image,caption\na,"b" c\n', r'x\.csv, line 2: .*must be quoted'),
        ('x.csv', '', 'are missing'),
        ('x.csv', 'image,caption\n', r'rows with image and caption, but got none'),
        ('x.jsonl', '', r'rows with image and caption, but got none'),
    ],
)
def test_mistakes(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        CaptionListDataset(name, data_root=str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r'ann_file .*absent\.csv'):
        CaptionListDataset('absent.csv', data_root=str(tmp_path))
