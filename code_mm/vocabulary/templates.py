"""Prompt templates: sentences with one ``{}`` for the name of a thing."""

from collections.abc import Sequence

from mmseg.utils import get_predefined_templates

# The templates of the zero-shot evaluation (as in the authors' release): seven
# "best" ImageNet ones that CLIP's authors name, and two plural ones.
EVALUATION_TEMPLATES = (
    'itap of a {}.',
    'a bad photo of a {}.',
    'a origami {}.',
    'a photo of the large {}.',
    'a {} in a video game.',
    'art of the {}.',
    'a photo of the small {}.',
    'a photo of many {}.',
    'a photo of {}s.',
)

_OWN_SETS = {'custom': EVALUATION_TEMPLATES}


def get_templates(templates: str | Sequence[str]) -> tuple[str, ...]:
    """A set of templates by name, or one's own sentences checked.

    Args:
        templates: ``'imagenet'`` (CLIP's 80, used for the guides of the noun
            prompt), ``'custom'`` (the 9 of the zero-shot evaluation), ``'vild'``, or
            sentences with exactly one ``{}`` each, for a domain of one's own.

    Returns:
        The sentences, in their fixed order.

    Raises:
        ValueError: unknown name, no sentence, or a sentence without a single ``{}``.
        TypeError: neither a name nor a sequence of strings.
    """
    if isinstance(templates, str):
        return _named(templates)
    if not isinstance(templates, Sequence) or not all(isinstance(t, str) for t in templates):
        raise TypeError(
            "expected templates to be a name such as 'imagenet' or a list of sentences, "
            f'but got {templates!r}'
        )
    if not templates:
        raise ValueError('expected at least one template, but got an empty list')
    for sentence in templates:
        if sentence.count('{}') != 1:
            raise ValueError(f'expected a template with one "{{}}", but got {sentence!r}')
    return tuple(templates)


def _named(name: str) -> tuple[str, ...]:
    if name in _OWN_SETS:
        return _OWN_SETS[name]
    try:
        return tuple(get_predefined_templates(name))
    except ValueError as error:
        raise ValueError(
            "expected templates to be 'imagenet', 'vild', 'custom' or a list of sentences, "
            f'but got {name!r}'
        ) from error
