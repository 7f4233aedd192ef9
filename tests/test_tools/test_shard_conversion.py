"""Pairs of COCO and of lists, and the shards that they become."""

import hashlib
import json
import tarfile

import pytest
from shard_conversion import (
    Pair,
    convert,
    is_coco,
    read_coco_pairs,
    read_list_pairs,
    shard_jobs,
)

from code_mm.datasets.captions import CaptionShardsDataset
from code_mm.datasets.preparation.shard_writer import ShardSample, write_shard

COCO = dict(
    images=[dict(id=number, file_name=f'{number}.jpg') for number in (7, 3, 9)],
    annotations=[
        dict(id=5, image_id=3, caption='a dog'),
        dict(id=2, image_id=3, caption='two dogs'),
        dict(id=4, image_id=7, caption='a cat '),
        dict(id=6, image_id=1, caption='of no image'),
    ],
)


def test_all_captions_of_coco_or_one_per_image(tmp_path):
    path = tmp_path / 'captions_val2017.json'
    path.write_text(json.dumps(COCO))
    assert is_coco(str(path)) and not is_coco('a.csv')
    assert read_coco_pairs(str(path), 'val') == [
        Pair('val/7.jpg', 'a cat ', dict(image_id=7, annotation_id=4)),
        Pair('val/3.jpg', 'two dogs', dict(image_id=3, annotation_id=2)),
        Pair('val/3.jpg', 'a dog', dict(image_id=3, annotation_id=5)),
        Pair('val/9.jpg', None, dict(image_id=9, annotation_id=None)),
        Pair('', 'of no image', dict(image_id=1)),
    ]
    first = read_coco_pairs(str(path), '', 'first')
    assert [pair.caption for pair in first] == ['a cat ', 'two dogs', None, 'of no image']
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
    return [
        Pair(str(tmp_path / name), f' “dog” 犬 {i}', dict(id=i, nouns=['dog'], url='not this one'))
        for i, name in enumerate(names)
    ]


@pytest.fixture
def root(tmp_path):
    (tmp_path / 'shards').mkdir()
    return tmp_path / 'shards'


def test_bytes_are_copied_and_bad_pairs_named(pairs, root, image_bytes):
    stats = [convert(job) for job in shard_jobs(pairs, root, 4)]
    assert [(s['count'], s['successes']) for s in stats] == [(4, 2), (3, 1)]
    with tarfile.open(root / '00000.tar') as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}
        assert {member.mtime for member in tar} == {0}  # the bytes follow from the pairs
    keys = ('000000000', '000000003')
    names = [f'{key}.{kind}' for key in keys for kind in ('json', 'txt')]
    assert set(members) == {*names, '000000000.jpg', '000000003.png'}
    assert members['000000000.jpg'] == image_bytes(0)
    assert members['000000003.txt'].decode() == '“dog” 犬 3'
    record = dict(caption='“dog” 犬 0', url=pairs[0].image, key='000000000', status='success')
    record |= dict(width=56, height=40, sha256=hashlib.sha256(image_bytes(0)).hexdigest())
    assert json.loads(members['000000000.json']) == record | dict(nouns=['dog'], id=0)
    dataset = CaptionShardsDataset(str(root))
    names = ['00000.tar/000000000', '00000.tar/000000003', '00001.tar/000010002']
    assert [sample['sample_key'] for sample in dataset] == names
    assert (dataset[2]['nouns'], dataset.skipped) == (['dog'], {})
    assert dataset[2]['img_bytes'] == image_bytes(6, suffix='.webp')
    rows = [row for s in stats for row in s['left_out']]
    assert [(row['reason'], row['key']) for row in rows] == [
        ('broken_image', '000000001'),
        ('broken_image', '000000002'),
        ('small_image', '000010000'),
        ('missing_image', '000010001'),
    ]
    assert (rows[3]['caption'], rows[3]['url']) == (' “dog” 犬 5', pairs[5].image)
    assert 'No such file' in rows[3]['detail']
    texts = [pairs[0]._replace(caption=text) for text in (' \n', None, 'a dog')]
    (job,) = shard_jobs(texts, root, 100_001)
    stats = convert(job)
    assert stats['status_dict'] == dict(empty_caption=1, missing_caption=1, success=1)
    assert stats['left_out'][1]['key'] == '00000000001'  # longer, as the shard is larger


def test_shards_are_done_until_their_pairs_or_settings_change(pairs, root):
    def done(pairs, *settings):
        return [job.finished_stats() is not None for job in shard_jobs(pairs, root, *settings)]

    convert(shard_jobs(pairs, root, 4)[0])
    assert done(pairs, 4) == [True, False]
    assert not done([pairs[0]._replace(caption='another'), *pairs[1:]], 4)[0]
    assert not done(pairs, 3)[0] and not done(pairs, 4, 8)[0]
    (root / '00000.tar').unlink()
    assert done(pairs, 4) == [False, False]

    def interrupted():
        yield ShardSample(b'image', 'jpg', 'a dog', 'x.jpg', 30, 20)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(root, 1, interrupted())
    assert [path.name for path in root.iterdir()] == ['00000_stats.json']


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
