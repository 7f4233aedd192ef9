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
import traceback
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
        RuntimeError: with the traceback of the process that failed first.
        TimeoutError: where a process did not answer, as when one waits for another.
    """
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['torch', 'code_mm'])
    source = (fn.__code__.co_filename, fn.__qualname__)
    with tempfile.TemporaryDirectory() as folder:
        message = (str(Path(folder) / 'store'), source, pickle.dumps(args))
        pipes, processes = [], []
        for rank in range(world_size):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(
                target=_worker, args=(sender, rank, world_size, *message), daemon=True
            )
            process.start()
            sender.close()
            pipes.append(receiver)
            processes.append(process)
        try:
            return _collect(pipes, timeout)
        finally:
            for process in processes:
                process.join(2)
                process.kill()


def _collect(pipes, timeout):
    results = {}
    waiting = list(pipes)
    while waiting:
        ready = multiprocessing.connection.wait(waiting, timeout)
        if not ready:
            missing = [pipes.index(pipe) for pipe in waiting]
            raise TimeoutError(f'ranks {missing} did not answer within {timeout} s')
        for pipe in ready:
            try:
                failed, payload = pickle.loads(pipe.recv_bytes())
            except EOFError:
                failed, payload = True, 'the process ended without a result'
            if failed:
                raise RuntimeError(f'rank {pipes.index(pipe)} failed:\n{payload}')
            results[pipe] = payload
            waiting.remove(pipe)
    return [results[pipe] for pipe in pipes]


def _worker(sender, rank, world_size, store, source, args):
    import torch
    import torch.distributed as dist

    try:
        torch.set_num_threads(1)
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(world_size), LOCAL_RANK=str(rank))
        dist.init_process_group(
            'gloo', init_method=f'file://{store}', rank=rank, world_size=world_size
        )
        answer = (False, _load(*source)(*pickle.loads(args)))
        sender.send_bytes(pickle.dumps(answer))
        dist.destroy_process_group()
    except BaseException:
        sender.send_bytes(pickle.dumps((True, traceback.format_exc())))
    finally:
        sender.close()


def _load(filename, name):
    """The function `name` of a test file, which need not be importable by name."""
    spec = importlib.util.spec_from_file_location(f'_worker_{Path(filename).stem}', filename)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return getattr(module, name)
