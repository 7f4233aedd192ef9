import contextlib
import os
import signal
import subprocess
import sys

import pytest

from code_mm.datasets.preparation import parallel_jobs
from code_mm.datasets.preparation.parallel_jobs import run_jobs


def square(number):
    if number < 0:
        raise ArithmeticError(number)
    return number * number


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize('workers', [1, 2])
def test_every_job_once(workers, capsys):
    jobs = iter(range(20))
    results = run_jobs(square, jobs, workers, description='squares', count=lambda r: 1)
    first = next(results)
    assert next(jobs) < 10  # they are taken as they are needed; this one is lost
    found = dict([first, *results])
    assert len(found) == 19 and found.items() <= {(i, i * i) for i in range(20)}
    err = capsys.readouterr().err
    assert all(text in err for text in ('squares', '19/', '19 items'))
    with pytest.raises(ArithmeticError):
        list(run_jobs(square, [1, -1, 2], workers))


def test_a_killed_worker_and_no_workers_are_errors():
    with pytest.raises(RuntimeError, match='a worker process was killed'):
        list(run_jobs(die, range(4), 2))
    with pytest.raises(ValueError, match='expected workers >= 1, but got 0'):
        list(run_jobs(square, [1], 0))


PARENT = """
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location('jobs', sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
def work(number):
    os.write(1, b'started\\n')
    time.sleep(600)
list(module.run_jobs(work, range(4), 2))
"""


def test_workers_end_with_a_killed_parent():
    # by path: importing the package takes seconds
    command = [sys.executable, '-c', PARENT, parallel_jobs.__file__]
    streams = dict(stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    parent = subprocess.Popen(command, start_new_session=True, **streams)
    try:
        assert [parent.stdout.readline() for _ in range(2)] == [b'started\n'] * 2
        parent.kill()
        parent.communicate(timeout=120)  # returns when all that hold the pipe have ended
    finally:
        with contextlib.suppress(ProcessLookupError):  # nobody is left
            os.killpg(parent.pid, signal.SIGKILL)
