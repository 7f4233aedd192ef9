"""Runs a function of a test in a group of processes (gloo, CPU).

The processes are forked from a server that has imported torch and code_mm once,
so a call costs about a second, not an import per process.
"""

import importlib.util
import multiprocessing
import os
import pickle
import sys
import tempfile
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from pathlib import Path

TIMEOUT = 120  # seconds


def run_in_two_processes(fn, *args, world_size=2, timeout=TIMEOUT):
    """Calls ``fn(*args)`` in every process of a group and returns their results in rank order.

    Args:
        fn: a function at module level of a test file; it finds its rank through
            ``torch.distributed`` (or ``code_mm.ops.rank``).
        *args: anything picklable (tensors too), the same for every process.
        world_size: number of processes.
        timeout: seconds until the processes are killed.

    Raises:
        RuntimeError: from the error of the process that failed first, with its traceback.
        TimeoutError: where a process did not answer, as when one waits for another.
    """
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['torch', 'code_mm'])
    source, content = (fn.__code__.co_filename, fn.__qualname__), pickle.dumps(args)
    pool = ProcessPoolExecutor(world_size, mp_context=context)
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / 'store')
        ranks = [
            pool.submit(_worker, rank, world_size, store, source, content)
            for rank in range(world_size)
        ]
        processes = list(pool._processes.values())
        try:
            done, missing = wait(ranks, timeout, FIRST_EXCEPTION)
            for rank in done:
                if (error := rank.exception()) is not None:
                    raise RuntimeError(f'rank {ranks.index(rank)} failed: {error!r}') from error
            if missing:
                raise TimeoutError(f'{len(missing)} ranks did not answer within {timeout} s')
            return [pickle.loads(rank.result()) for rank in ranks]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.join(2)
                process.kill()


def _worker(rank, world_size, store, source, content):
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world_size), LOCAL_RANK=str(rank))
    dist.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=world_size)
    # tensors as bytes: the pool would hand over their memory, which ends with this process
    # The group ends with the process, too: destroy_process_group of torch 2.1 joins gloo's threads
    # while it holds the GIL, for which a thread that frees a tensor waits.
    return pickle.dumps(_load(*source)(*pickle.loads(content)))


def _load(filename, name):
    """The function `name` of a test file, which need not be importable by name."""
    spec = importlib.util.spec_from_file_location(f'_worker_{Path(filename).stem}', filename)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return getattr(module, name)
