"""Runs independent jobs in processes under a progress bar."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import wait as wait_for_any
from typing import Any

import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


def run_jobs(
    function: Callable[[Any], Any],
    jobs: Iterable,
    workers: int = 1,
    *,
    description: str = '',
    unit: str = 'items',
    count: Callable[[Any], int] = lambda result: 1,
) -> Iterator[tuple[Any, Any]]:
    """Yield ``(job, function(job))`` as jobs end, in any order.

    A killed worker is an error, not a hang, and workers end when their parent is killed
    (:func:`mmengine.utils.track_progress_rich` does neither). Jobs are taken from the
    iterable as they are needed.

    Args:
        function (Callable): At module level, or a method of a picklable object.
        jobs (Iterable): Arguments, picklable.
        workers (int): Processes; 1 runs the jobs in this process.
        description (str): What the progress bar says.
        unit (str): What ``count`` counts in a result; the bar shows so many per second.
        count (Callable): By default, results.
    """
    if workers < 1:
        raise ValueError(f'expected workers >= 1, but got {workers}')
    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, TextColumn('{task.fields[items]}'), console=Console(stderr=True))
    total = len(jobs) if hasattr(jobs, '__len__') else None
    task, number = progress.add_task(description, total=total, items=''), 0
    results = _in_this_process if workers == 1 else _in_processes
    for job, result in results(function, iter(jobs), workers, progress):
        number += count(result)
        speed = number / max(progress.tasks[0].elapsed or 0, 1e-9)
        progress.update(task, advance=1, items=f'{number:,} {unit} ({speed:,.0f}/s)')
        yield job, result


def _in_this_process(function, jobs: Iterator, workers: int, progress: Progress) -> Iterator:
    with progress:
        for job in jobs:
            yield job, function(job)


def _in_processes(function, jobs: Iterator, workers: int, progress: Progress) -> Iterator:
    with ProcessPoolExecutor(workers, initializer=_begin_worker) as pool:
        try:
            # The processes start here, before the thread of the progress bar does.
            running = {pool.submit(function, job): job for job in islice(jobs, 2 * workers)}
            with progress:
                while running:
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        job = running.pop(future)
                        running |= {pool.submit(function, more): more for more in islice(jobs, 1)}
                        yield job, future.result()
        except BrokenProcessPool as error:
            raise RuntimeError(
                'a worker process was killed (out of memory?). What was finished is kept: run '
                'again, with fewer --workers if need be'
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin_worker() -> None:
    """Two things that a worker would wait for forever: a killed parent, and its lost threads."""
    torch.set_num_threads(1)  # as torch's own loader workers do: a fork has no OpenMP threads
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    wait_for_any([multiprocessing.parent_process().sentinel])
    os._exit(1)
