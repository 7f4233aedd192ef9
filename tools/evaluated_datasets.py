"""Which data sets a config evaluates; tools that look at their files share it."""

from collections.abc import Mapping

from code_mm.datasets.benchmarks.table import benchmark_of


def evaluated_datasets(cfg: Mapping) -> dict[str, dict]:
    """The data sets that a config tests on, or where nothing is tested, validates on.

    Args:
        cfg (Mapping): A config with ``test_dataloader``, or with ``benchmarks`` in ``test_cfg`` as
            of ``MultiDatasetTestLoop``.

    Returns:
        dict[str, dict]: Name -> config of the data set, with its pipeline. A data set that stands
        alone is called by its benchmark's name, or else by its type.

    Raises:
        ValueError: If the config evaluates nothing, or ``only`` names an unknown benchmark.
    """
    for split in ('test', 'val'):
        loop, loader = (cfg.get(f'{split}_{part}') or {} for part in ('cfg', 'dataloader'))
        shared = dict(loader.get('dataset') or {})
        known = {name: keys for name, keys in (loop.get('benchmarks') or {}).items() if keys}
        if known:
            only = loop.get('only') or list(known)
            names = [only] if isinstance(only, str) else list(only)
            if unknown := [name for name in names if name not in known]:
                raise ValueError(
                    f'only: expected benchmarks among {list(known)}, but got {unknown}'
                )
            pipeline = {'pipeline': shared['pipeline']} if 'pipeline' in shared else {}
            return {name: {**pipeline, **known[name]['dataset']} for name in names}
        if 'type' in shared:
            kind = shared['type']
            return {benchmark_of(kind) or kind.rpartition('.')[-1]: shared}
    raise ValueError(
        'expected a config with test_dataloader (or val_dataloader), but got none; take one of '
        'configs/eval'
    )
