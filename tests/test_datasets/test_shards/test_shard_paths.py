import pytest

from code_mm.datasets.shards.shard_paths import expand_shard_paths


@pytest.fixture
def folder(tmp_path):
    for name in ('a/00000.tar', 'a/00001.tar', 'a/00001.parquet', 'b/00002.tar', 'b/x[1].tar'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


@pytest.mark.parametrize(
    ('shards', 'names'),
    [
        ('a/00001.tar', ['a/00001.tar']),
        ('a', ['a/00000.tar', 'a/00001.tar']),
        ('a/', ['a/00000.tar', 'a/00001.tar']),
        ('a/*.tar', ['a/00000.tar', 'a/00001.tar']),
        # a brace range names shards that may be missing; a glob finds what is there
        ('a/{00000..00002}.tar', ['a/00000.tar', 'a/00001.tar', 'a/00002.tar']),
        ('{a,b}/*[0-9].tar', ['a/00000.tar', 'a/00001.tar', 'b/00002.tar']),
        ('{a,b}', ['a/00000.tar', 'a/00001.tar', 'b/00002.tar', 'b/x[1].tar']),
        ('b/x[1].tar', ['b/x[1].tar']),
        (['b/00002.tar', 'a', 'a/*0.tar'], ['b/00002.tar', 'a/00000.tar', 'a/00001.tar']),
    ],
)
def test_patterns(folder, shards, names):
    paths = [path.replace('//', '/') for path in expand_shard_paths(shards, str(folder))]
    assert paths == [str(folder / name) for name in names]


def test_absolute_paths_ignore_the_root(folder):
    path = str(folder / 'a' / '00000.tar')
    assert expand_shard_paths(path, '/elsewhere') == [path]


@pytest.mark.parametrize('pattern', ['c/*.tar', 'a/{7..9}.tar', 'nothing.tar', 'a/*.zip'])
def test_a_pattern_without_a_file_is_named(folder, pattern):
    with pytest.raises(ValueError, match='expected shards') as error:
        expand_shard_paths(['a', pattern], str(folder))
    assert repr(pattern) in str(error.value)
    assert 'check the pattern' in str(error.value)


def test_folder_without_shards(folder):
    (folder / 'empty').mkdir()
    with pytest.raises(ValueError, match="expected shards 'empty'"):
        expand_shard_paths('empty', str(folder))


@pytest.mark.parametrize(('shards', 'error'), [(3, TypeError), ([3], TypeError), ([], ValueError)])
def test_not_a_list_of_paths(shards, error):
    with pytest.raises(error, match='expected'):
        expand_shard_paths(shards)
