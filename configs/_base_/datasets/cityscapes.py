"""Cityscapes, validation split, 19 classes without background (thesis §4.1)."""

_base_ = './evaluation.py'

from code_mm.datasets.benchmarks.table import BENCHMARKS  # noqa: E402

val_dataloader = dict(dataset=BENCHMARKS['cityscapes'].dataset_config())
test_dataloader = val_dataloader
del BENCHMARKS
