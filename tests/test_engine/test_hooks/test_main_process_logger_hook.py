import json
from types import SimpleNamespace

from mmengine.logging import MessageHub, MMLogger
from mmengine.runner import LogProcessor
from torch import distributed

from code_mm.engine.hooks import MainProcessLoggerHook


def _log_test(hook, folder):
    """A test epoch ends; every process has a folder of its own, to see who writes."""
    own = folder / str(distributed.get_rank())
    own.mkdir(parents=True)
    hub = MessageHub.get_instance(f'logged_{hook.__class__.__name__}')
    hub.update_scalars({'test/mIoU': 25.0, 'test/time': 0.5, 'test/data_time': 0.5})
    runner = SimpleNamespace(
        work_dir=str(own),
        log_dir=str(own),
        timestamp='20260101_000000',
        logger=MMLogger.get_instance('logged'),
        log_processor=LogProcessor(by_epoch=False),
        message_hub=hub,
        test_dataloader=[None],
        test_loop=SimpleNamespace(dataloader=[None]),
    )
    hook.before_run(runner)
    hook.after_test_epoch(runner, dict(mIoU=25.0))
    return [json.loads(path.read_text()) for path in own.iterdir()]


def test_one_process_of_two_writes(tmp_path, run_in_two_processes):
    written = run_in_two_processes(_log_test, MainProcessLoggerHook(), tmp_path)
    assert written == [[dict(mIoU=25.0, data_time=0.5, time=0.5)], []]
