import os
import time

import pytest

from code_mm.atomic_write import atomic_write


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


def test_nothing_is_left_after_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / 'a') as temporary:
        open(temporary, 'w').close()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
