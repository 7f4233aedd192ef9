import hashlib
import json
import tarfile

import pytest

from code_mm.datasets.captions import CaptionShardsDataset
from code_mm.datasets.preparation.shard_writer import (
    FailedSample,
    ShardSample,
    finished_stats,
    write_shard,
)


def samples():
    fields = dict(nouns=['dog'], url='not this one')
    yield ShardSample(b'\xff\xd8image', 'jpg', 'a “dog” 犬', 'x/1.jpg', 30, 20, fields)
    yield FailedSample('a cat', 'x/2.jpg', 'missing_image', 'no such file')
    yield FailedSample('', 'x/3.jpg', 'empty_caption')
    yield ShardSample(b'\x89PNG', 'png', 'a car', 'x/4.png', 5, 6)


def test_members_and_stats(tmp_path):
    stats = write_shard(tmp_path, 12, samples(), made_from='abc')
    with tarfile.open(tmp_path / '00012.tar') as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}
    names = [f'{key}.{kind}' for key in ('000120000', '000120003') for kind in ('json', 'txt')]
    assert set(members) == {*names, '000120000.jpg', '000120003.png'}
    assert members['000120000.jpg'] == b'\xff\xd8image'
    assert members['000120000.txt'].decode() == 'a “dog” 犬'
    assert json.loads(members['000120000.json']) == dict(
        caption='a “dog” 犬',
        url='x/1.jpg',
        key='000120000',
        status='success',
        width=30,
        height=20,
        sha256=hashlib.sha256(b'\xff\xd8image').hexdigest(),
        nouns=['dog'],
    )
    first, second = stats['left_out']
    assert first == dict(
        key='000120001',
        caption='a cat',
        url='x/2.jpg',
        reason='missing_image',
        detail='no such file',
    )
    assert second['key'] == '000120002'
    assert (stats['count'], stats['successes']) == (4, 2)
    assert stats['status_dict'] == dict(success=2, missing_image=1, empty_caption=1)
    assert finished_stats(tmp_path, 12, 'abc') == stats


def test_our_data_set_reads_it_and_the_bytes_follow_from_the_samples(tmp_path):
    for name in 'ab':
        (tmp_path / name).mkdir()
        write_shard(tmp_path / name, 0, samples(), digits=6)
    first, second = ((tmp_path / name / '00000.tar').read_bytes() for name in 'ab')
    assert first == second
    dataset = CaptionShardsDataset(str(tmp_path / 'a'))
    keys = [dataset[i]['sample_key'] for i in range(len(dataset))]
    assert keys == ['00000.tar/00000000000', '00000.tar/00000000003']
    assert (dataset[0]['nouns'], dataset.skipped) == (['dog'], {})


def test_a_shard_is_finished_with_its_stats(tmp_path):
    def interrupted():
        yield from list(samples())[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path, 0, interrupted(), made_from='a')
    assert list(tmp_path.iterdir()) == []
    assert finished_stats(tmp_path, 0, 'a') is None
    write_shard(tmp_path, 0, samples(), made_from='a')
    assert finished_stats(tmp_path, 0, 'b') is None
    (tmp_path / '00000.tar').unlink()
    assert finished_stats(tmp_path, 0, 'a') is None
