"""A logger whose files have one writer."""

from __future__ import annotations

from mmengine.dist import master_only
from mmengine.hooks import LoggerHook

from code_mm.registry import HOOKS


@HOOKS.register_module()
class MainProcessLoggerHook(LoggerHook):
    """MMEngine's ``LoggerHook``, whose JSON file of test scores the main process writes alone.

    MMEngine's is written by every process at the same time. Their times differ in length, so that
    now and then the rest of one text stands behind another and nothing can read the file.
    """

    @master_only
    def after_test_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Log the scores and write ``<work_dir>/<timestamp>/<timestamp>.json``."""
        super().after_test_epoch(runner, metrics)
