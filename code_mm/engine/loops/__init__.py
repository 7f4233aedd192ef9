"""Loops for MMEngine's Runner."""

from .benchmark import Benchmark, build_benchmarks
from .multi_dataset_loop import MultiDatasetTestLoop, MultiDatasetValLoop

__all__ = ['Benchmark', 'MultiDatasetTestLoop', 'MultiDatasetValLoop', 'build_benchmarks']
