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


def get_templates(templates: str | Sequence[str]) -> tuple[str, ...]:
    """A set of templates by name, or one's own sentences checked, in their order.

    Args:
        templates (str | Sequence[str]): 'imagenet' (CLIP's 80, used for the guides of the noun
            prompt), 'custom' (the 9 of the zero-shot evaluation), 'vild', or sentences with
            exactly one ``{}`` each, for a domain of one's own.

    Raises:
        ValueError: The name is unknown, or there is no sentence or one without a single ``{}``.
        TypeError: Neither a name nor a sequence of strings.
    """
    if templates == 'custom':
        return EVALUATION_TEMPLATES
    if isinstance(templates, str):
        try:
            return tuple(get_predefined_templates(templates))
        except ValueError as error:
            raise ValueError(
                "expected templates to be 'imagenet', 'vild', 'custom' or a list of sentences, "
                f'but got {templates!r}'
            ) from error
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
