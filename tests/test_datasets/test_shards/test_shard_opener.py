import bz2
import gzip
import lzma
import random
import time

import pytest

from code_mm.datasets.shards import shard_opener
from code_mm.datasets.shards.shard_opener import check_can_open, open_shard

CONTENT = bytes(range(256)) * 1000
NOISE = random.Random(0).randbytes(2**24 + 2**20)


def content_of(shard, **kwargs):
    with open_shard(shard, **kwargs) as file:
        return file.read(10) + file.read(10**8)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / '00000.tar'
    path.write_bytes(CONTENT)
    return path


def test_files_urls_commands_and_stores_give_the_same(path, web_server):
    import fsspec

    fsspec.filesystem('memory').pipe('/bucket/00000.tar', CONTENT)
    for shard in (
        str(path),
        f'file:{path}',
        f'{web_server}/00000.tar',
        f'pipe:cat {path}',
        'memory://bucket/00000.tar',
    ):
        assert content_of(shard, timeout=60) == CONTENT, shard


@pytest.mark.parametrize('compress', [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize('form', ['{}', 'pipe:cat {}'])
def test_compressed_shards_are_unpacked_on_the_way(tmp_path, compress, form):
    path = tmp_path / '00000.tar.x'
    path.write_bytes(compress(CONTENT))
    assert content_of(form.format(path)) == CONTENT
    path.write_bytes(compress(NOISE[: 2**22])[: 2**21])
    with open_shard(form.format(path)) as file:  # cut: what is before the cut can be read
        assert file.read(2**17) == NOISE[: 2**17]
        with pytest.raises(EOFError):
            file.read(2**22)
    path.write_bytes(compress(bytes(2**25)))  # a trap
    trapped = pytest.raises(ValueError, match=r'grew to .*1\d{7}:')
    with open_shard(form.format(path)) as file, trapped:
        file.read(2**28)  # at once, as a header may ask for it
    path.write_bytes(gzip.compress(NOISE, 0))  # large, but hardly shrunk: none
    assert content_of(form.format(path)) == NOISE


def test_what_is_not_there_is_an_error_of_its_own_name(web_server, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match='absent'):
        open_shard(str(tmp_path / 'absent.tar'))
    with pytest.raises(OSError, match='exit 22'):  # curl: 404
        open_shard(f'{web_server}/absent.tar')
    with pytest.raises(FileNotFoundError):
        open_shard('memory://absent/0.tar')
    monkeypatch.setattr('fsspec.open', lambda *_: 1 / 0)  # a store with errors of its own
    with pytest.raises(OSError, match='ZeroDivisionError'):
        open_shard('memory://bucket/00000.tar')


def test_a_broken_download_is_no_end(path, web_server):
    with open_shard(f'{web_server}/cut/00000.tar', timeout=60) as file:
        assert file.read(50_000) == CONTENT[:50_000]
        with pytest.raises(OSError, match='exit 18'):  # curl: partial file
            file.read(10**8)


def test_a_command_without_output_or_end_is_given_up_and_stopped(path, monkeypatch):
    start = time.monotonic()
    with pytest.raises(TimeoutError, match=r'no data for 0\.3 s'):
        open_shard('pipe:sleep 600', timeout=0.3)
    with open_shard(f'pipe:head -c 50000 {path}; sleep 600', timeout=5) as file:
        assert file.read(50_000) == CONTENT[:50_000]
        with pytest.raises(TimeoutError, match='no data'):
            file.read(1)
    with (
        open_shard('pipe:while echo; do sleep 0.01; done', timeout=0.3) as file,
        pytest.raises(TimeoutError, match=r'only \d+ bytes in'),
    ):
        file.read(10**6)
    monkeypatch.setattr(shard_opener, '_MOST_BYTES', 2**20)
    with open_shard('pipe:yes') as file, pytest.raises(OSError, match='bytes: no shard'):
        file.read(2**24)
    with open_shard('pipe:yes; sleep 600') as file:
        assert file.read(4) == b'y\ny\n'
    assert time.monotonic() - start < 300


def test_what_nothing_can_read_is_said_before_the_run(monkeypatch):
    check_can_open('pipe:cat x')
    check_can_open('memory://x')
    with pytest.raises(ImportError, match=r'nosuch:// shards with fsspec.*pip install fsspec'):
        check_can_open('nosuch://x/0.tar')
    monkeypatch.setattr(shard_opener.shutil, 'which', lambda name: None)
    with pytest.raises(ImportError, match='the program curl'):
        check_can_open('https://host/0.tar')


def test_a_stream_skips_ahead_only(path):
    with open_shard(f'pipe:cat {path}') as file:
        assert file.peek(6)[:6] == CONTENT[:6]
        file.seek(3)
        assert file.read(5) == CONTENT[3:8]
        assert file.seek(3000) == file.tell() == 3000
        assert file.read(100_000) == CONTENT[3000:103_000]
        with pytest.raises(OSError, match='cannot go from byte'):
            file.seek(5)
        file.seek(10**9)
        assert (file.tell(), file.read(1)) == (len(CONTENT), b'')
