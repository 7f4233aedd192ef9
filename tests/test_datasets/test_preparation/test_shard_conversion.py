"""Pairs of COCO, of lists and of folders, and the shards that they become."""

import json
import tarfile

import pytest

from code_mm.datasets.preparation.shard_conversion import (
    Pair,
    convert,
    is_coco,
    read_coco_pairs,
    read_folder_pairs,
    read_list_pairs,
    shard_jobs,
)

COCO = dict(
    images=[dict(id=number, file_name=f'{number}.jpg') for number in (7, 3, 9)],
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


def test_all_captions_of_coco_or_one_per_image(coco):
    assert read_coco_pairs(coco, 'val') == [
        Pair('val/7.jpg', 'a cat ', dict(image_id=7, annotation_id=4)),
        Pair('val/3.jpg', 'two dogs', dict(image_id=3, annotation_id=2)),
        Pair('val/3.jpg', 'a dog', dict(image_id=3, annotation_id=5)),
        Pair('val/9.jpg', None, dict(image_id=9, annotation_id=None)),
        Pair('', 'of no image', dict(image_id=1)),
    ]
    assert [p.caption for p in read_coco_pairs(coco, '', 'first')][:2] == ['a cat ', 'two dogs']


def test_other_files_than_cocos(coco, tmp_path):
    assert is_coco(coco) and not is_coco('a.csv')
    path = tmp_path / 'a.json'
    path.write_text(' \n[{"image": "a"}]')
    assert not is_coco(str(path))
    for content in (COCO | dict(annotations=[dict(id=1, image_id=3, bbox=[])]), dict(captions=[])):
        path.write_text(json.dumps(content))
        with pytest.raises(ValueError, match='to be a COCO captions file'):
            read_coco_pairs(str(path), '')


def test_lists_keep_other_columns(tmp_path):
    path = tmp_path / 'a.csv'
    path.write_text(
        'file,text,nouns,id\n1.jpg,a dog,dog; leash,5\n,no image,,6\na,b\n3.jpg,c,[1,7\n'
    )
    skips = []
    assert read_list_pairs(str(path), 'root', 'file', 'text', None, skips) == [
        Pair('root/1.jpg', 'a dog', dict(nouns=['dog', ' leash'], id='5')),
        Pair('', 'no image', dict(nouns=None, id='6')),
    ]
    assert [skip[:2] for skip in skips] == [('bad_row', 'a.csv:4'), ('bad_row', 'a.csv:5')]


def test_images_with_texts_beside(tmp_path):
    texts = {'b/2.jpg': '', 'a.PNG': '', 'a.txt': '\ufeffa café', 'c.txt': 'x', 'd.gif': ''}
    (tmp_path / 'b').mkdir()
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding='utf-8')
    assert read_folder_pairs(str(tmp_path)) == [
        Pair(str(tmp_path / 'a.PNG'), 'a café', {}),
        Pair(str(tmp_path / 'b/2.jpg'), None, {}),
        Pair('', 'x', {}),
    ]


@pytest.fixture
def pairs(tmp_path, image_bytes):
    """Seven pairs, of which the second, third, fifth and sixth are unusable."""
    contents = {
        '0.jpg': image_bytes(0),
        '1.jpg': b'text instead',
        '2.jpg': image_bytes(2)[:500],
        '3.wrong': image_bytes(3, suffix='.png'),
        '4.jpg': image_bytes(4, height=8),
        '6.webp': image_bytes(6, suffix='.webp'),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    names = [*list(contents)[:5], 'absent.jpg', '6.webp']
    return [Pair(str(tmp_path / name), f' caption {i}', dict(id=i)) for i, name in enumerate(names)]


@pytest.fixture
def root(tmp_path):
    (tmp_path / 'shards').mkdir()
    return tmp_path / 'shards'


def members(path):
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def test_bytes_are_copied_and_bad_pairs_named(pairs, root, image_bytes):
    stats = [convert(job) for job in shard_jobs(pairs, root, 4)]
    assert [(s['count'], s['successes']) for s in stats] == [(4, 2), (3, 1)]
    first, second = (members(root / f'0000{i}.tar') for i in range(2))
    assert first['000000000.jpg'] == image_bytes(0)
    assert first['000000003.png'] == image_bytes(3, suffix='.png')
    assert first['000000003.txt'] == b'caption 3'
    assert second['000010002.webp'] == image_bytes(6, suffix='.webp')
    assert [(row['reason'], row['key']) for s in stats for row in s['left_out']] == [
        ('broken_image', '000000001'),
        ('broken_image', '000000002'),
        ('small_image', '000010000'),
        ('missing_image', '000010001'),
    ]
    texts = [pairs[0]._replace(caption=text) for text in (' \n', None, 'a dog')]
    (job,) = shard_jobs(texts, root)
    assert convert(job)['status_dict'] == dict(empty_caption=1, missing_caption=1, success=1)


def test_shards_are_done_until_their_pairs_or_settings_change(pairs, root):
    def done(pairs, *settings):
        return [job.finished_stats() is not None for job in shard_jobs(pairs, root, *settings)]

    convert(shard_jobs(pairs, root, 4)[0])
    assert done(pairs, 4) == [True, False]
    assert not done([pairs[0]._replace(caption='another'), *pairs[1:]], 4)[0]
    assert not done(pairs, 3)[0] and not done(pairs, 4, 8)[0]


def test_shuffled_with_a_seed(pairs, root):
    def order(shuffle):
        jobs = shard_jobs(pairs, root, 4, shuffle=shuffle)
        return [pair.fields['id'] for job in jobs for pair in job.pairs]

    assert order(None) == list(range(7)) == sorted(order(1))
    assert order(1) == order(1) != order(2)
    with pytest.raises(ValueError, match='expected samples_per_shard >= 1, but got 0'):
        shard_jobs(pairs, root, 0)
    with pytest.raises(ValueError, match='at least one pair'):
        shard_jobs([], root)
