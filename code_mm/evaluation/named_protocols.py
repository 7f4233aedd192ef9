"""What a named protocol fixes, and where an evaluation departs from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches

from code_mm.datasets.benchmarks.table import BENCHMARKS
from code_mm.vocabulary import ClassNameFile, get_templates

# Name -> function from a benchmark's name to what the protocol says for it.
PROTOCOLS: dict[str, Callable[[str], dict]] = {}


def register_protocol(name: str) -> Callable:
    """Decorate a function that gives a protocol's settings for a benchmark of ``BENCHMARKS``.

    Its keys are ``resize``, ``window``, ``class names`` and any of ``model_protocol``; a setting
    that it leaves out is free. A project of ``projects/`` adds its own this way.
    """

    def register(settings: Callable[[str], dict]) -> Callable[[str], dict]:
        PROTOCOLS[name] = settings
        return settings

    return register


@register_protocol('code')
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


@register_protocol('sclip')
def _sclip(benchmark: str) -> dict:
    """SCLIP (Wang et al., ECCV 2024), as its authors' code has it."""
    own = dict(
        voc21=dict(scale=65.0, min_score=0.1, min_share=0.1),
        context60=dict(scale=50.0, min_score=0.1),
        coco_object=dict(scale=50.0, min_score=0.1),
    )
    scores = dict(type='SoftmaxOverNames', scale=40.0, min_score=None, min_share=None)
    file = ClassNameFile.read(f'sclip_{benchmark}')
    return {
        'resize': dict(
            scale=[2048, dict(cityscapes=560, coco_stuff=448).get(benchmark, 336)], keep_ratio=True
        ),
        'window': dict(mode='slide', crop_size=[224, 224], stride=[112, 112]),
        'class names': dict(file=file.source, sha256=file.sha256),
        'background_threshold': None,
        'name_scores': {**scores, **own.get(benchmark, {})},
        'templates': list(get_templates('imagenet')),
        'post_processor': None,
        'knowledge_preserving': None,
    }


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
