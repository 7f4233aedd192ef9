"""Which data sets a config evaluates."""

from collections.abc import Iterator, Mapping

from .published_benchmarks import BENCHMARKS


def evaluated_datasets(cfg: Mapping) -> dict[str, dict]:
    """Find the data sets that a config tests on: one, or a list of benchmarks.

    Args:
        cfg (Mapping): A config with ``test_dataloader``, or with several loaders in it or in
            ``test_cfg``, each under a key ``dataloader`` or directly under its benchmark's name.
            Where nothing is tested, those of validation.

    Returns:
        dict[str, dict]: Benchmark name -> config of its data set. The name is the key under which
        it stands, that of the benchmark where it stands alone, or else the data set's type.

    Raises:
        ValueError: If the config evaluates nothing.
    """
    for split in ('test', 'val'):
        places = [cfg.get(f'{split}_cfg'), cfg.get(f'{split}_dataloader')]
        found = [entry for place in places if place for entry in _loaders(place, None)]
        if found:
            return {_name(name, dataset): dataset for name, dataset in found}
    raise ValueError(
        'expected a config with test_dataloader (or val_dataloader), but got none; take one of '
        'configs/eval'
    )


def _loaders(node, name: str | None) -> Iterator[tuple[str | None, dict]]:
    """Dataloaders at any depth, with the nearest key that says what they are."""
    if isinstance(node, Mapping):
        if isinstance(node.get('dataset'), Mapping):
            yield node.get('name') or name, node['dataset']
            return
        name = node.get('name') or name
        for key, child in node.items():
            yield from _loaders(child, name if key in ('dataloader', 'benchmarks') else key)
    elif isinstance(node, (list, tuple)):
        for child in node:
            yield from _loaders(child, name)


def _name(name: str | None, dataset: Mapping) -> str:
    kind = dataset['type'].rpartition('.')[-1]
    return name or (BENCHMARKS[kind].name if kind in BENCHMARKS else kind)
