"""How tools/train.py and tools/test.py are started and what they make of options; how tools end."""

import errno
import json
import os
import runpy
import shutil
import subprocess
import sys
from functools import partial
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from run_or_explain import run_or_explain
from runner_options import build_runner
from tiny_configs import load, shrink

from projects.shapes_world import ShapesWorld, write_evaluation

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / 'tools'
TRAIN, TEST = (
    SimpleNamespace(**runpy.run_path(str(TOOLS / f'{name}.py'), run_name=name))
    for name in ('train', 'test')
)
LAUNCH = 'python -m torch.distributed.run'
MIM = shutil.which('mim', path=str(Path(sys.executable).parent))
if any(metadata.distributions(name='openmim')):
    MIM = None  # OpenMMLab's finds no editable install
SLURM = '--cpus-per-task=5 --kill-on-bad-exit=1'


def launch(folder, script, *words, **variables):
    """Run a shell script with stand-ins for python and srun, which print what they get."""
    for name in ('python', 'srun'):
        stand_in = folder / name
        stand_in.write_text(f'#!/bin/sh\necho {name} "$@"\necho "PYTHONPATH $PYTHONPATH"\n')
        stand_in.chmod(0o755)
    path = f'{folder}:{os.environ["PATH"]}'
    environment = {**os.environ, 'PATH': path, 'PYTHON': 'python', **variables}
    command = [TOOLS / f'{script}.sh', *words]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize(
    ('script', 'words', 'variables', 'expected'),
    [
        (
            'dist_train',
            ('a.py', '2', '--resume', '--work-dir', 'a b'),
            {'PORT': '7'},
            f'{LAUNCH} --nnodes=1 --node_rank=0 --master_addr=127.0.0.1 --master_port=7 '
            f'--nproc_per_node=2 {TOOLS}/train.py a.py --launcher pytorch --resume --work-dir a b',
        ),
        (
            'dist_test',  # on the second of two machines
            ('a.py', 'a.pth', '4'),
            {'NNODES': '2', 'NODE_RANK': '1', 'MASTER_ADDR': 'first'},
            f'{LAUNCH} --nnodes=2 --node_rank=1 --master_addr=first --master_port=29500 '
            f'--nproc_per_node=4 {TOOLS}/test.py a.py a.pth --launcher pytorch',
        ),
        (
            'slurm_train',
            ('part', 'job', 'a.py', '--amp'),
            {'GPUS': '8'},
            f'srun -p part --job-name=job --gres=gpu:4 --ntasks=8 --ntasks-per-node=4 {SLURM} '
            f'python -u {TOOLS}/train.py a.py --launcher slurm --amp',
        ),
        (
            'slurm_test',
            ('part', 'job', 'a.py', 'a.pth'),
            {'GPUS': '2', 'GPUS_PER_NODE': '2', 'NO_GPU': '1', 'SRUN_ARGS': '-x n1 --mem=8G'},
            f'srun -p part --job-name=job --ntasks=2 --ntasks-per-node=2 {SLURM} -x n1 --mem=8G '
            f'python -u {TOOLS}/test.py a.py a.pth --launcher slurm',
        ),
    ],
)
def test_command_lines_of_the_shell_scripts(script, words, variables, expected, tmp_path):
    command, path = launch(tmp_path, script, *words, **variables).stdout.splitlines()
    assert command == expected and path.startswith(f'PYTHONPATH {TOOLS}/..')
    usage = launch(tmp_path, script, 'a.py')
    assert usage.returncode == 2
    assert f'tools/{script}.sh ' in usage.stderr and ' CONFIG ' in usage.stderr


@pytest.mark.skipif(MIM is None, reason='no mim that finds an editable install')
def test_mim_trains_in_two_processes_tests_and_reads_the_model_index(tmp_path):
    for split in ('training', 'validation'):
        write_evaluation(ShapesWorld('hard', size=32), tmp_path, 3, split)
    cfg = shrink(load('projects/mixing/configs/segformer_mit_shapes.py'))
    loader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=str(tmp_path)))
    keys = {f'{name}_dataloader': loader for name in ('train', 'val', 'test')}
    keys['default_hooks.checkpoint.interval'] = 2
    cfg.merge_from_dict({**keys, 'train_cfg': dict(max_iters=2, val_interval=2)})
    cfg.dump(tmp_path / 'tiny.py')

    def mim(*words):
        environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
        keys = dict(stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, stdout=subprocess.PIPE)
        keys |= dict(cwd=tmp_path, env=environment, text=True, timeout=180)
        done = subprocess.run([MIM, *words], **keys)
        assert done.returncode == 0, done.stdout[-6000:]
        return done.stdout

    two = ('--launcher', 'pytorch', '--gpus', '2')
    log = mim('train', 'code_mm', 'tiny.py', *two, '--work-dir', 'train')
    assert 'GPU number: 2' in log and 'Training finished successfully' in log
    mim('test', 'code_mm', 'tiny.py', '--checkpoint', 'train/iter_2.pth', '--work-dir', 'test')
    (file,) = (tmp_path / 'test').glob('2*/2*.json')
    assert 0 <= json.loads(file.read_text())['mIoU'] <= 100
    mim('search', 'code_mm', '--json', 'models.json')
    models = json.loads((tmp_path / 'models.json').read_text())
    assert models['config']['code_cc12m'] == 'configs/code_cc12m.py'


@pytest.mark.parametrize(
    ('program', 'chosen'),
    [
        ('import code_mm', {}),
        ('import model_options, code_mm', {}),
        ("import runner_options as r; r.load_config(r.make_parser('').parse_args(['no.py']))", {}),
        ('import code_mm', {'OMP_WAIT_POLICY': 'active'}),  # the user's own setting wins
    ],
)
def test_threads_that_wait_leave_their_core(program, chosen):
    environment = {k: v for k, v in os.environ.items() if k != 'OMP_WAIT_POLICY'}
    environment.update(chosen, OMP_DISPLAY_ENV='true', PYTHONPATH=f'{TOOLS}:{ROOT}')
    command = [sys.executable, '-c', program]
    told = subprocess.run(command, env=environment, capture_output=True).stderr.decode()
    if 'OMP_WAIT_POLICY' not in told:
        pytest.skip('torch was not built with GNU OpenMP')
    assert f"OMP_WAIT_POLICY = '{'ACTIVE' if chosen else 'PASSIVE'}'" in told


def test_work_dir_and_options_of_the_config(monkeypatch, tmp_path):
    monkeypatch.setenv('LOCAL_RANK', '0')  # what load_config sets is undone afterwards
    monkeypatch.chdir(tmp_path)

    def load(text, *options):
        Path('a.py').write_text(text)
        monkeypatch.setattr(sys, 'argv', ['train.py', 'a.py', *options])
        return TRAIN.load_config(TRAIN.parse_args())

    assert load('a = 1').work_dir == 'work_dirs/a'
    assert load('work_dir = "b"').work_dir == 'b'
    assert load('work_dir = "b"', '--work-dir', 'c').work_dir == 'c'
    text = 'train_cfg = dict(max_iters=3)'
    cfg = load(text, '--cfg-options', 'train_cfg.max_iters=4')
    assert cfg.train_cfg.max_iters == 4 and cfg.launcher == 'none'
    with pytest.raises(ValueError, match="did you mean 'train_cfg'"):
        load(text, '--cfg-options', 'trian_cfg.max_iters=4')
    Path('a.py').unlink()
    with pytest.raises(FileNotFoundError, match=r"'a\.py' does not exist"):
        TRAIN.load_config(TRAIN.parse_args())


def test_mixed_precision(monkeypatch):
    cfg = Config({'optim_wrapper': {'type': 'OptimWrapper'}})
    monkeypatch.setattr('mmengine.device.get_device', lambda: 'cpu')
    with pytest.raises(ValueError, match='--amp: expected a GPU'):
        TRAIN.use_mixed_precision(cfg)
    monkeypatch.setattr('mmengine.device.get_device', lambda: 'cuda')
    TRAIN.use_mixed_precision(cfg)
    assert cfg.optim_wrapper == {'type': 'AmpOptimWrapper', 'loss_scale': 'dynamic'}
    with pytest.raises(ValueError, match='got ApexOptimWrapper'):
        TRAIN.use_mixed_precision(Config({'optim_wrapper': {'type': 'ApexOptimWrapper'}}))


def test_weights_come_from_line_config_or_model():
    pretrained = {'init_cfg': {'type': 'Pretrained', 'checkpoint': 'clip.pth'}}
    for line, expected in ((None, 'b.pth'), ('none', 'b.pth'), ('a.pth', 'a.pth')):
        cfg = Config({'model': {}, 'resume': True, 'load_from': 'b.pth'})
        TEST.choose_weights(cfg, line)
        assert (cfg.load_from, cfg.resume) == (expected, False)
    cfg = Config({'model': pretrained})
    TEST.choose_weights(cfg, 'none')
    assert 'load_from' not in cfg


def test_what_a_test_run_draws_saves_and_augments():
    own = [dict(type='LoadAnnotations', reduce_zero_label=True), dict(type='PackSegInputs')]
    tta = [dict(type='TestTimeAug', transforms=[[dict(type='LoadAnnotations')]])]
    benchmarks = dict(
        a=dict(dataset=dict(type='D')),
        b=dict(dataset=dict(pipeline=own), evaluator=dict(type='IoUMetric')),
        c=None,
    )
    cfg = Config(
        dict(
            model=dict(type='M'),
            test_dataloader=dict(dataset=dict(pipeline=own)),
            test_evaluator=[dict(type='Other'), dict(type='mmseg.IoUMetric')],
            test_cfg=dict(benchmarks=benchmarks),
            tta_model=dict(type='SegTTAModel'),
            tta_pipeline=tta,
            default_hooks=dict(visualization=dict(type='SegVisualizationHook')),
            visualizer={},
        )
    )
    TEST.draw_predictions(cfg, Config(dict(show=True, show_dir='d', wait_time=3)))
    drawn = dict(type='SegVisualizationHook', draw=True, show=True, wait_time=3)
    assert cfg.default_hooks.visualization == drawn and cfg.visualizer.save_dir == 'd'
    TEST.use_augmentation(cfg)
    assert cfg.model == dict(type='SegTTAModel', module=dict(type='M'))
    assert cfg.test_dataloader.dataset.pipeline == tta
    # a benchmark with a pipeline of its own keeps the reading of its labels
    augmented = [dict(type='TestTimeAug', transforms=[[own[0]]])]
    assert cfg.test_cfg.benchmarks.b.dataset.pipeline == augmented
    assert 'pipeline' not in cfg.test_cfg.benchmarks.a.dataset
    TEST.save_predictions(cfg, 'out')
    metric, of_b = cfg.test_evaluator[1], cfg.test_cfg.benchmarks.b.evaluator
    assert (metric.output_dir, metric.keep_results) == ('out', True)
    assert of_b.output_dir == 'out/b'


@pytest.mark.parametrize(
    ('function', 'cfg', 'message'),
    [
        (build_runner, dict(launcher='none'), 'expected a model'),
        (
            partial(TEST.choose_weights, checkpoint=None),
            dict(model=dict(init_cfg=None)),
            'expected a checkpoint, but got none',
        ),
        (
            partial(TEST.draw_predictions, args=None),
            dict(default_hooks={}),
            'expected a visualization hook',
        ),
        (
            partial(TEST.save_predictions, folder='out'),
            dict(test_evaluator=[dict(type='Other')]),
            r"expected an IoUMetric.*got \['Other'\]",
        ),
        (TEST.use_augmentation, dict(model={}), 'expected tta_model and tta_pipeline'),
    ],
)
def test_what_a_config_lacks_is_named(function, cfg, message):
    with pytest.raises(ValueError, match=message):
        function(Config(cfg))


FULL = OSError(errno.ENOSPC, 'No space left on device', 'out/a.png')


def failing(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ('error', 'sentence'),
    [
        (ValueError('expected a, but got b'), 'expected a, but got b'),
        (FULL, 'out/a.png: No space left on device; free some space there, or write to another'),
        (
            OSError(errno.EROFS, 'Read-only file system', 'out'),
            'out: Read-only file system; choose a folder that you may write to\n',
        ),
        (FileNotFoundError('expected a file'), 'expected a file\n'),
    ],
)
def test_mistakes_end_with_one_sentence_and_status_2(monkeypatch, capsys, error, sentence):
    monkeypatch.setattr('sys.argv', ['tools/a.py'])
    with pytest.raises(SystemExit, match='2'):
        run_or_explain(failing(error))
    said = capsys.readouterr().err
    assert said.startswith(f'a.py: {sentence}') and said.count('\n') == 1


def test_a_training_says_where_it_broke_unless_the_disk_did():
    with pytest.raises(SystemExit):
        run_or_explain(failing(FULL), (OSError,))
    for error in (ValueError('a'), ConnectionResetError('a'), FileNotFoundError('a')):
        with pytest.raises(type(error)):
            run_or_explain(failing(error), (OSError,))
    run_or_explain(lambda: None)
    run_or_explain(lambda: 0)
    with pytest.raises(SystemExit, match='1'):
        run_or_explain(lambda: 1)
