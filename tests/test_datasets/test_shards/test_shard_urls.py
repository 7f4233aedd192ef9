import pytest

from code_mm.datasets.shards.shard_urls import expand_shard_urls, is_url, shard_name, split_missing


@pytest.mark.parametrize(
    ('shards', 'root', 'expected'),
    [
        ('https://h/{08..10}.tar?a=b', '', [f'https://h/{n}.tar?a=b' for n in ('08', '09', '10')]),
        (
            '{0..1}.tar',
            's3://bucket/cc12m/',
            ['s3://bucket/cc12m/0.tar', 's3://bucket/cc12m/1.tar'],
        ),
        (
            ['pipe:cat {a,b}.tar', 's3://x/1.tar'],
            '/r',
            ['pipe:cat a.tar', 'pipe:cat b.tar', 's3://x/1.tar'],
        ),
        ('pipe:sed s/}/{/ 0.tar', '', ['pipe:sed s/}/{/ 0.tar']),
    ],
)
def test_urls_keep_their_order_and_need_not_exist(shards, root, expected):
    assert expand_shard_urls(shards, root) == expected


def test_urls_and_files_together_each_once(write_tar, tmp_path):
    paths = [write_tar(f'{n}.tar', {'1.jpg': b'x'}) for n in range(2)]
    found = expand_shard_urls(['*.tar', '0.tar', 'http://h/0.tar', str(tmp_path)], str(tmp_path))
    assert found == [*paths, 'http://h/0.tar']


def test_mistakes():
    with pytest.raises(TypeError, match='a path or a list of paths, but got 3'):
        expand_shard_urls(3)
    with pytest.raises(ValueError, match='at least one shard'):
        expand_shard_urls([])
    with pytest.raises(ValueError, match=r'none of .* exists'):
        expand_shard_urls('/nowhere/*.tar')


@pytest.mark.parametrize(
    ('shard', 'url', 'name'),
    [
        ('/data/a b/00012.tar', False, '00012.tar'),
        ('00012.tar', False, '00012.tar'),
        ('C:/data/00012.tar', False, '00012.tar'),
        ('https://h/x.tar/00012.tar?token=a.tar.b', True, '00012.tar'),
        ('s3://bucket/00012.tar', True, '00012.tar'),
        ('pipe:aws s3 cp s3://b/00012.tar -', True, '00012.tar'),
        ("pipe:zcat '/d/00012.tar.gz' | cat", True, '00012.tar.gz'),
        ('pipe:curl -s https://h/00012.tgz', True, '00012.tgz'),
        ('hf://org/set/part-3', True, 'part-3'),
    ],
)
def test_names_of_messages_and_keys(shard, url, name):
    assert is_url(shard) == url
    assert shard_name(shard) == name


def test_missing_files_are_told_from_urls(write_tar, tmp_path):
    path = write_tar('a/0.tar', {'1.jpg': b'x'})
    absent = [str(tmp_path / 'a/1.tar'), str(tmp_path / 'b/0.tar')]
    there, skips = split_missing([path, *absent, 'http://h/9.tar'])
    assert there == [path, 'http://h/9.tar']
    assert [skip[:2] for skip in skips] == [('missing_shard', '1.tar'), ('missing_shard', '0.tar')]
