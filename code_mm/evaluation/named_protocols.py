"""What a named protocol fixes, and where an evaluation departs from it."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from code_mm.datasets.benchmarks.table import BENCHMARKS
from code_mm.vocabulary import get_templates


def _code(benchmark: str) -> dict:
    """Thesis §4.1 and the authors' release; post-processing is the method's, not the protocol's."""
    return {
        'resize': dict(scale=[2048, 448], keep_ratio=True),
        'window': dict(mode='slide', crop_size=[448, 448], stride=[224, 224]),
        'class names': 'data set',
        'background_threshold': BENCHMARKS[benchmark].background_threshold,
        'name_scores': None,
        'templates': list(get_templates('custom')),
    }


# Name -> function from the name of a benchmark to what the protocol says for it: ``resize``,
# ``window``, ``class names`` and keys of ``model_protocol``. A project adds its own here.
PROTOCOLS = dict(code=_code)


def check_protocol_name(name: str | None) -> None:
    """Raise a ValueError for a name that no protocol has."""
    if name is not None and name not in PROTOCOLS:
        nearest = get_close_matches(str(name), PROTOCOLS, n=1)
        hint = f'; did you mean {nearest[0]!r}?' if nearest else ''
        raise ValueError(
            f'expected protocol to be one of {list(PROTOCOLS)} or None, but got {name!r}{hint}'
        )


def departures(name: str, benchmark: str | None, dataset: Mapping, model: Mapping) -> list[str]:
    """Where what a score was measured with departs from a named protocol.

    Args:
        name (str): The protocol.
        benchmark (str, optional): Of ``BENCHMARKS``; None for another data set.
        dataset (Mapping): Its ``dataset_protocol``.
        model (Mapping): The ``model_protocol``, with ``class_names_from``.

    Returns:
        list[str]: ``'window.stride [224, 224] (sclip: [112, 112])'`` and the like; empty where the
        protocol was kept.
    """
    if benchmark is None:
        return [f'data set {dataset["type"]} (none of the benchmarks of {name})']
    resize = dataset['resize'][0] if len(dataset['resize']) == 1 else dataset['resize']
    found = {
        **model,
        'resize': resize,
        'window': model['inference'],
        'class names': model.get('class_names_from'),
    }
    if found.get('noun_prompt') is not None and found.get('templates') is None:
        found.pop('templates')  # learnt contexts stand in for them
    expected = PROTOCOLS[name](benchmark)
    return [
        text
        for key, value in expected.items()
        if key in found
        for text in _differences(key, found[key], value, name)
    ]


def _differences(key: str, found, expected, name: str) -> list[str]:
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        inner = [(f'{key}.{k}', found.get(k), value) for k, value in expected.items()]
        return [text for part in inner for text in _differences(*part, name)]
    if found == expected:
        return []
    if key == 'templates':
        found, expected = (f'{len(value or ())} sentences' for value in (found, expected))
    return [f'{key} {found} ({name}: {expected})']
