"""What glibc does with freed memory, asked in processes of their own."""

import os
import platform
import subprocess
import sys

import pytest

# Page faults of taking and freeing 40 MB for the second to the tenth time.
PROGRAM = """
import importlib.util, resource, sys
spec = importlib.util.spec_from_file_location('freed_memory', sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
done = module.keep_freed_memory() if sys.argv[2] == 'keep' else None
import torch
def step():
    parts = [torch.zeros(1_000_000) + 1 for _ in range(10)]
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
before = faults()
for _ in range(9):
    step()
print(done, faults() - before)
"""
glibc = pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='not the GNU C library')


def run(what, **variables):
    import code_mm.engine.freed_memory as module

    environment = {k: v for k, v in os.environ.items() if not k.startswith(('MALLOC_', 'GLIBC_'))}
    result = subprocess.run(
        [sys.executable, '-c', PROGRAM, module.__file__, what],
        capture_output=True,
        text=True,
        check=True,
        env={**environment, **variables},
    )
    done, faults = result.stdout.split()
    return done, int(faults)


@glibc
def test_kept_memory_is_not_asked_for_again():
    done, kept = run('keep')
    assert done == 'True'
    assert kept < run('as it is')[1] / 2


@glibc
@pytest.mark.parametrize(
    'variables',
    [
        dict(MALLOC_TRIM_THRESHOLD_='131072'),
        dict(GLIBC_TUNABLES='glibc.malloc.trim_threshold=131072'),
    ],
)
def test_what_the_user_set_stays(variables):
    assert run('keep', **variables)[0] == 'False'


def test_other_c_libraries_are_left_alone(monkeypatch):
    from code_mm.engine.freed_memory import keep_freed_memory

    monkeypatch.setattr(platform, 'libc_ver', lambda: ('', ''))
    assert keep_freed_memory() is False
