"""Resuming: from the folder that is given, with changes told; a folder has one run at a time."""

import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop

from code_mm.engine.every_run import lock_folder, newest_checkpoint
from code_mm.engine.hooks.checkpoint_fit_hook import CheckpointFitHook, _tell_changes


def test_a_copied_or_moved_run_goes_on_from_its_own_files(tmp_path):
    first, copy = tmp_path / 'first', tmp_path / 'copy'
    assert newest_checkpoint(str(tmp_path)) is None
    first.mkdir()
    (first / 'iter_1.pth').touch()
    (first / 'last_checkpoint').write_text(str(first / 'iter_1.pth'))
    shutil.copytree(first, copy)
    assert newest_checkpoint(str(copy)) == str(copy / 'iter_1.pth')
    (copy / 'iter_1.pth').unlink()  # checkpoints may lie elsewhere (out_dir of the hook)
    assert newest_checkpoint(str(copy)) == str(first / 'iter_1.pth')
    (first / 'iter_1.pth').unlink()
    with pytest.raises(FileNotFoundError, match=r'iter_1\.pth'):
        newest_checkpoint(str(copy))
    (copy / 'last_checkpoint').write_text('')
    with pytest.raises(ValueError, match='last_checkpoint, but it is empty'):
        newest_checkpoint(str(copy))


def test_a_checkpoint_that_cannot_be_written_whole_leaves_the_one_before(tmp_path):
    """MMEngine's own writer, in a process of few bytes a file."""
    program = f"""
import resource, signal, torch, code_mm
from mmengine.runner import save_checkpoint
save_checkpoint(dict(a=torch.zeros(1)), {str(tmp_path / 'a.pth')!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (9999, 9999))
save_checkpoint(dict(a=torch.zeros(9999)), {str(tmp_path / 'a.pth')!r})
"""
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert 'File too large' in done.stderr and 'a.pth' in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ['a.pth']
    assert torch.load(tmp_path / 'a.pth')['a'].shape == (1,)


HOLD = """
import fcntl, os, sys
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.lockf(lock, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""


def test_a_folder_is_of_one_run_until_it_ends_even_by_a_kill(tmp_path):
    command = [sys.executable, '-c', HOLD, str(tmp_path / '.lock')]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(RuntimeError, match=f'{tmp_path} is one of a running training'):
            lock_folder(str(tmp_path))
        other.kill()
    lock_folder(str(tmp_path))
    lock_folder(str(tmp_path))  # a second Runner of the same process


def test_changed_settings_are_told_with_what_will_happen():
    def text(lr, iters, data, end):
        return Config(
            dict(
                optim_wrapper=dict(optimizer=dict(type='SGD', lr=lr), clip_grad=None),
                train_cfg=dict(max_iters=iters),
                train_dataloader=dict(dataset=dict(data_root=data)),
                param_scheduler=[dict(type='LinearLR', end=end)],
                work_dir=data,
            )
        ).pretty_text

    told = []
    with pytest.MonkeyPatch.context() as patch:
        module = sys.modules[_tell_changes.__module__]
        patch.setattr(module, 'print_log', lambda message, **_: told.append(message))
        _tell_changes(text(0.1, 5, 'a', 3), text(0.1, 5, 'a', 3))
        _tell_changes('', text(0.1, 5, 'a', 3))  # a checkpoint without its config
        _tell_changes('(' * 9999, text(0.1, 5, 'a', 3))
        assert not told
        _tell_changes(text(0.1, 5, 'a', 3), text(0.2, 9, 'b', 4))
    kept = "; the checkpoint's is kept; for the new one start from its weights"
    assert [message.partition(' (')[0] for message in told] == [
        f'Resuming: optim_wrapper.optimizer.lr was 0.1 and is 0.2 now{kept}',
        f'Resuming: param_scheduler.0.end was 3 and is 4 now{kept}',
        'Resuming: train_cfg.max_iters was 5 and is 9 now; the new one is used from here on.',
        "Resuming: train_dataloader.dataset.data_root was 'a' and is 'b' now; the new one is used; "
        'samples may come again, or not at all.',
    ]


def test_the_optimizer_steps_as_this_machine_can():
    """Before torch 2.4 a CPU has no fused step, whatever machine saved the checkpoint."""
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.AdamW(model.parameters(), fused=False)
    checkpoint = dict(state_dict=model.state_dict(), optimizer=optimizer.state_dict())
    checkpoint['optimizer']['param_groups'][0]['fused'] = True
    runner = SimpleNamespace(
        model=model,
        cfg=Config(),
        optim_wrapper=OptimWrapper(optimizer),
        _train_loop=object.__new__(IterBasedTrainLoop),
        _load_from='iter_3.pth',
        _resume=True,
    )
    CheckpointFitHook().after_load_checkpoint(runner, checkpoint)
    optimizer.load_state_dict(checkpoint['optimizer'])
    assert optimizer.param_groups[0]['fused'] is False
