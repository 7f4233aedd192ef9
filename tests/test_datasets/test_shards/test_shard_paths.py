import re

import pytest

from code_mm.datasets.shards.shard_paths import expand_shard_paths, is_url, shard_name


@pytest.fixture
def folder(tmp_path):
    for name in ('a/00000.tar', 'a/00001.tar', 'a/00001.parquet', 'b/00002.tar', 'b/x[1].tar'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / 'empty').mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ('shards', 'names'),
    [
        ('a/00001.tar', ['a/00001.tar']),
        ('a', ['a/00000.tar', 'a/00001.tar']),
        # a brace range names shards that may be missing; a glob finds what is there
        ('a/{00000..00002}.tar', ['a/00000.tar', 'a/00001.tar', 'a/00002.tar']),
        ('{a,b}/*[0-9].tar', ['a/00000.tar', 'a/00001.tar', 'b/00002.tar']),
        ('b/x[1].tar', ['b/x[1].tar']),
        (['b/00002.tar', 'a', 'a/*0.tar'], ['b/00002.tar', 'a/00000.tar', 'a/00001.tar']),
    ],
)
def test_files(folder, shards, names):
    assert expand_shard_paths(shards, str(folder)) == [str(folder / name) for name in names]


@pytest.mark.parametrize(
    ('shards', 'root', 'expected'),
    [
        ('https://h/{08..10}.tar?a=b', '', [f'https://h/{n}.tar?a=b' for n in ('08', '09', '10')]),
        ('{0..1}.tar', 's3://b/cc12m/', ['s3://b/cc12m/0.tar', 's3://b/cc12m/1.tar']),
        (['pipe:cat {a,b}.tar', 's3://x'], '/r', ['pipe:cat a.tar', 'pipe:cat b.tar', 's3://x']),
        ('pipe:sed s/}/{/ 0.tar', '', ['pipe:sed s/}/{/ 0.tar']),
    ],
)
def test_urls_keep_their_order_and_need_not_exist(shards, root, expected):
    assert expand_shard_paths(shards, root) == expected


def test_a_root_is_a_name(folder):
    root = str((folder / 'a').rename(folder / 'x[0]{a,b}'))
    for pattern in ('*.tar', '0000{0..1}.tar', ''):
        found = expand_shard_paths(pattern, root)
        assert found == [f'{root}/00000.tar', f'{root}/00001.tar']
    assert expand_shard_paths('{0..1}.tar', 's3://{b}') == ['s3://{b}/0.tar', 's3://{b}/1.tar']


def test_a_pattern_without_a_file_is_named(folder):
    for pattern in ('c/*.tar', 'a/{7..9}.tar', 'nothing.tar', 'empty'):
        with pytest.raises(ValueError, match=re.escape(f'expected shards {pattern!r}')):
            expand_shard_paths(['a', pattern], str(folder))


@pytest.mark.parametrize(
    ('shard', 'url', 'name'),
    [
        ('/data/a b/00012.tar', False, '00012.tar'),
        ('C:/data/00012.tar', False, '00012.tar'),
        ('https://h/x.tar/00012.tar?token=a.tar.b', True, '00012.tar'),
        ('pipe:aws s3 cp s3://b/00012.tar -', True, '00012.tar'),
        ("pipe:zcat '/d/00012.tar.gz' | cat", True, '00012.tar.gz'),
        ('pipe:curl -s https://h/00012.tgz', True, '00012.tgz'),
        ('hf://org/set/part-3', True, 'part-3'),
    ],
)
def test_names_of_messages_and_keys(shard, url, name):
    assert is_url(shard) == url
    assert shard_name(shard) == name
