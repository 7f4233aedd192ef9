import pytest

from code_mm.vocabulary import EVALUATION_TEMPLATES, get_templates


def test_sets_by_name():
    imagenet = get_templates('imagenet')
    assert len(imagenet) == len(set(imagenet)) == 80
    assert imagenet[0] == 'a bad photo of a {}.'
    custom = get_templates('custom')
    assert custom == EVALUATION_TEMPLATES
    assert len(custom) == 9
    assert get_templates(['a scan of {}.', '{}']) == ('a scan of {}.', '{}')


@pytest.mark.parametrize(
    ('templates', 'error', 'message'),
    [
        ('imagnet', ValueError, "'imagenet', 'vild', 'custom' or a list"),
        ([], ValueError, 'at least one template'),
        (['a photo'], ValueError, "but got 'a photo'"),
        (['{} and {}'], ValueError, 'one "{}"'),
        (None, TypeError, 'name such as'),
    ],
)
def test_mistakes(templates, error, message):
    with pytest.raises(error, match=message):
        get_templates(templates)
