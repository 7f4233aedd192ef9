import tarfile

import numpy as np
import pytest

from code_mm.datasets.preparation.caption_pairs import Pair
from code_mm.datasets.preparation.shard_conversion import ShardConversion


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
    conversion = ShardConversion(root, samples_per_shard=4)
    jobs = conversion.jobs(pairs)
    stats = [conversion.write(job) for job in jobs]
    assert [(s['count'], s['successes']) for s in stats] == [(4, 2), (3, 1)]
    first, second = (members(root / f'0000{i}.tar') for i in range(2))
    assert first['000000000.jpg'] == image_bytes(0)
    assert first['000000003.png'] == image_bytes(3, suffix='.png')
    assert first['000000003.txt'] == b'caption 3'
    assert second['000010002.webp'] == image_bytes(6, suffix='.webp')
    reasons = [row['reason'].split(' ')[0] for row in conversion.failures(jobs)]
    assert reasons == ['broken_image', 'broken_image', 'small_image', 'missing_image']
    assert [row['key'] for row in conversion.failures(jobs)] == [
        '000000001',
        '000000002',
        '000010000',
        '000010001',
    ]


def test_empty_and_missing_captions(pairs, root):
    conversion = ShardConversion(root)
    jobs = conversion.jobs([pairs[0]._replace(caption=text) for text in (' \n', None, 'a dog')])
    assert conversion.write(jobs[0])['status_dict'] == dict(
        empty_caption=1, missing_caption=1, success=1
    )


def test_shards_are_done_until_their_pairs_change(pairs, root):
    conversion = ShardConversion(root, samples_per_shard=4)
    jobs = conversion.jobs(pairs)
    conversion.write(jobs[0])
    assert [conversion.is_done(job) for job in conversion.jobs(pairs)] == [True, False]
    changed = [pairs[0]._replace(caption='another'), *pairs[1:]]
    assert not conversion.is_done(conversion.jobs(changed)[0])
    assert not conversion.is_done(ShardConversion(root, 3).jobs(pairs)[0])
    assert not conversion.is_done(ShardConversion(root, 4, min_size=8).jobs(pairs)[0])


def test_shuffled_with_a_seed(pairs, root):
    conversion = ShardConversion(root, samples_per_shard=4)

    def order(shuffle):
        return [pair.fields['id'] for job in conversion.jobs(pairs, shuffle) for pair in job.pairs]

    assert order(None) == list(range(7))
    assert order(1) == order(1) != order(2)
    expected = np.arange(7)
    np.random.default_rng(1).shuffle(expected)
    assert order(1) == expected.tolist()


def test_mistakes(root, pairs):
    with pytest.raises(ValueError, match='expected samples_per_shard >= 1, but got 0'):
        ShardConversion(root, 0).jobs(pairs)
    with pytest.raises(ValueError, match='at least one pair'):
        ShardConversion(root).jobs([])
