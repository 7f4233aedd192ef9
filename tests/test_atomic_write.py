import errno
import os
import resource
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from code_mm.atomic_write import atomic_write, write_text


def test_appears_at_the_end_and_litter_goes(tmp_path):
    path = tmp_path / 'a[1].txt'
    old, new = tmp_path / 'a[1].txt.x-1.partial', tmp_path / 'a[1].txt.x-2.partial'
    for file in (old, new):
        file.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    with atomic_write(path) as temporary:
        with open(temporary, 'w') as stream:
            stream.write('b')
        assert not path.exists()
    assert path.read_text() == 'b'
    assert sorted(p.name for p in tmp_path.iterdir()) == ['a[1].txt', new.name]


@pytest.fixture
def full_disk():
    """No file may grow beyond 4 kB, which is how a full disk looks to its writer."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


TENSORS = dict(a=torch.zeros(100_000))
WRITERS = dict(
    text=lambda path: Path(path).write_text('x' * 10_000),
    torch=lambda path: torch.save(TENSORS, path),
    safetensors=lambda path: save_file(TENSORS, path),
    pillow=lambda path: Image.effect_noise((200, 200), 99).save(path, format='PNG'),
)


@pytest.mark.parametrize('writer', WRITERS)
def test_on_a_full_disk_the_path_is_named_and_what_was_there_stays(tmp_path, full_disk, writer):
    path = tmp_path / 'a'
    path.write_text('before')
    with pytest.raises(OSError) as caught, atomic_write(path) as temporary:
        WRITERS[writer](temporary)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    assert [p.name for p in tmp_path.iterdir()] == ['a'] and path.read_text() == 'before'


def test_other_errors_stay_what_they_are_and_leave_nothing(tmp_path):
    for error in (FileNotFoundError('/nowhere/b'), ValueError('c'), KeyboardInterrupt('d')):
        with (
            pytest.raises(type(error), match=str(error)),
            atomic_write(tmp_path / 'a') as temporary,
        ):
            Path(temporary).touch()
            raise error
    assert list(tmp_path.iterdir()) == []
    path = tmp_path / 'nowhere/a'
    with pytest.raises(FileNotFoundError, match=f"'{path}'"), atomic_write(path) as temporary:
        Path(temporary).touch()


def test_text_in_a_new_folder(tmp_path):
    write_text(tmp_path / 'b/a.txt', 'hündchen\udcff')
    assert (tmp_path / 'b/a.txt').read_bytes() == b'h\xc3\xbcndchen\\udcff'
