"""The command lines that the shell scripts make; a stand-in prints them and runs nothing."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def launched(workplace, run, tmp_path):
    """Runs a script with stand-ins for python and srun; the arguments and PYTHONPATH they got."""
    for name in ('python', 'srun'):
        stand_in = tmp_path / name
        stand_in.write_text(f'#!/bin/sh\necho {name} "$@"\necho "PYTHONPATH $PYTHONPATH"\n')
        stand_in.chmod(0o755)

    def launch(script: str, *args, **variables) -> str:
        path = f'{tmp_path}:{os.environ["PATH"]}'
        return run(script, *args, PATH=path, PYTHON='python', **variables)

    return launch


def test_dist_train(launched):
    log = launched('tools/dist_train.sh', 'a.py', 2, '--resume', '--work-dir', 'a b', PORT='7')
    assert log.splitlines()[0] == (
        'python -m torch.distributed.run --nnodes=1 --node_rank=0 --master_addr=127.0.0.1 '
        f'--master_port=7 --nproc_per_node=2 {ROOT}/tools/train.py a.py --launcher pytorch '
        '--resume --work-dir a b'
    )
    assert f'PYTHONPATH {ROOT}/tools/..' in log


def test_dist_test_on_the_second_of_two_machines(launched):
    variables = {'NNODES': '2', 'NODE_RANK': '1', 'MASTER_ADDR': 'first'}
    log = launched('tools/dist_test.sh', 'a.py', 'a.pth', 4, **variables)
    assert log.splitlines()[0] == (
        'python -m torch.distributed.run --nnodes=2 --node_rank=1 --master_addr=first '
        f'--master_port=29500 --nproc_per_node=4 {ROOT}/tools/test.py a.py a.pth '
        '--launcher pytorch'
    )


def test_slurm_train(launched):
    log = launched('tools/slurm_train.sh', 'part', 'job', 'a.py', '--amp', GPUS='8')
    assert log.splitlines()[0] == (
        'srun -p part --job-name=job --gres=gpu:4 --ntasks=8 --ntasks-per-node=4 '
        f'--cpus-per-task=5 --kill-on-bad-exit=1 python -u {ROOT}/tools/train.py a.py '
        '--launcher slurm --amp'
    )


def test_slurm_test_without_gpus(launched):
    variables = {'GPUS': '2', 'GPUS_PER_NODE': '2', 'NO_GPU': '1', 'SRUN_ARGS': '-x n1 --mem=8G'}
    log = launched('tools/slurm_test.sh', 'part', 'job', 'a.py', 'a.pth', **variables)
    assert log.splitlines()[0] == (
        'srun -p part --job-name=job --ntasks=2 --ntasks-per-node=2 --cpus-per-task=5 '
        f'--kill-on-bad-exit=1 -x n1 --mem=8G python -u {ROOT}/tools/test.py a.py a.pth '
        '--launcher slurm'
    )


@pytest.mark.parametrize('name', ['dist_train', 'dist_test', 'slurm_train', 'slurm_test'])
def test_too_few_arguments_print_the_usage(launched, name):
    with pytest.raises(AssertionError, match=rf'tools/{name}\.sh .*CONFIG'):
        launched(f'tools/{name}.sh', 'a.py')
