"""Which data sets a config evaluates."""

from collections.abc import Mapping

from .published_benchmarks import BENCHMARKS


def evaluated_datasets(cfg: Mapping) -> dict[str, dict]:
    """Find the data sets that a config tests on, one or several benchmarks.

    Args:
        cfg (Mapping): A config with ``test_dataloader``, or with ``benchmarks`` in ``test_cfg`` as
            of ``MultiDatasetTestLoop``. Where nothing is tested, those of validation.

    Returns:
        dict[str, dict]: Name -> config of the data set, with its pipeline. A data set that stands
        alone is called by its benchmark's name, or else by its type.

    Raises:
        ValueError: If the config evaluates nothing, or ``only`` names an unknown one.
    """
    for split in ('test', 'val'):
        loop, loader = (cfg.get(f'{split}_{part}') or {} for part in ('cfg', 'dataloader'))
        shared = loader.get('dataset') or {}
        if loop.get('benchmarks'):
            return _several(loop, shared)
        if 'type' in shared:
            kind = shared['type'].rpartition('.')[-1]
            return {BENCHMARKS[kind].name if kind in BENCHMARKS else kind: dict(shared)}
    raise ValueError(
        'expected a config with test_dataloader (or val_dataloader), but got none; take one of '
        'configs/eval'
    )


def _several(loop: Mapping, shared: Mapping) -> dict[str, dict]:
    known = {name: keys for name, keys in loop['benchmarks'].items() if keys is not None}
    only = loop.get('only') or list(known)
    names = [only] if isinstance(only, str) else list(only)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f'only: expected benchmarks among {list(known)}, but got {unknown}')
    pipeline = {'pipeline': shared['pipeline']} if 'pipeline' in shared else {}
    return {name: {**pipeline, **known[name]['dataset']} for name in names}
