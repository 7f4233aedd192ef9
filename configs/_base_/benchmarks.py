"""All benchmarks, for MultiDatasetTestLoop and MultiDatasetValLoop: data, and background threshold.

The six of thesis Table 4.1, and VOC and Context without background. The pipeline is that of the
loader, a single key to change; a benchmark that needs another gets a ``pipeline`` in its dataset.
"""

_base_ = []  # tells MMEngine that this is a config of the ordinary kind, despite the import

from code_mm.datasets.benchmarks.table import BENCHMARKS  # noqa: E402

all_benchmarks = {
    name: dict(background_threshold=known.background_threshold, dataset=known.dataset_config())
    for name, known in BENCHMARKS.items()
}
del BENCHMARKS
