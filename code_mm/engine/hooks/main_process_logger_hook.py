"""A logger whose files have one writer."""

from __future__ import annotations

from mmengine.dist import master_only
from mmengine.hooks import LoggerHook

from code_mm.registry import HOOKS


@HOOKS.register_module()
class MainProcessLoggerHook(LoggerHook):
    """MMEngine's ``LoggerHook``, whose JSON file of test scores the main process writes alone.

    MMEngine's is written by every process at once, and now and then one text ends in another's.
    """

    @master_only
    def after_test_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        super().after_test_epoch(runner, metrics)
