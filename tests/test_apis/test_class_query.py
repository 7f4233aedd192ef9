import pytest
from tiny_model import tiny_code

from code_mm.apis.class_query import ClassQuery, make_query, parse_class_names


def test_names_of_strings_and_lists():
    assert parse_class_names(' cat ,  grey   sofa,car|auto') == ['cat', 'grey sofa', 'car|auto']
    assert parse_class_names(['a man, sitting', 'Katze 猫']) == ['a man, sitting', 'Katze 猫']


@pytest.mark.parametrize(
    'keys, names, threshold',
    [
        (dict(), ('a', 'b'), None),
        (dict(configured_threshold=0.3), ('background', 'a', 'b'), 0.3),
        (dict(configured_threshold=0.3, background=False), ('a', 'b'), None),
        (dict(classes='a', background=True), ('background', 'a'), 0.4),
        (dict(background_threshold=0.7, configured_threshold=0.3), ('background', 'a', 'b'), 0.7),
        (dict(classes='Background, a'), ('background', 'a'), 0.4),
    ],
)
def test_background_and_threshold(keys, names, threshold):
    query = make_query(**{'classes': 'a, b', **keys})
    assert (query.names, query.background_threshold) == (names, threshold)


@pytest.mark.parametrize(
    'keys, message',
    [
        *((dict(classes=c), 'empty name') for c in ('cat,,dog', 'cat,', '', [], 'car|, dog')),
        (dict(classes='cat, dog, cat'), r"\['cat'\] twice"),
        (dict(classes=['cat', 3]), r'as strings, but got \[3\]'),
        (dict(classes=None), 'expected class names, but got none'),
        (dict(classes='a'), 'at least two classes without background'),
        (dict(classes='background'), 'at least two classes without background'),
        (dict(classes='background, a', background=False), "got the class 'background'"),
        (dict(classes='a, b', background=False, background_threshold=0.2), 'the threshold 0.2'),
        (dict(classes='a, background'), "'background' as the first class"),
        (dict(classes='a, b', background_threshold=1.0), r'in \(0, 1\), but got 1.0'),
        (dict(classes='a, b', background_threshold=0), r'in \(0, 1\), but got 0'),
    ],
)
def test_mistakes_and_contradictions(keys, message):
    with pytest.raises(ValueError, match=message):
        make_query(**keys)


def test_colours_put_the_background_first():
    without = ClassQuery(('a', 'b'), None).colours
    assert ClassQuery(('a', 'b'), 0.4).colours == [(0, 0, 0), *without] and len(set(without)) == 2


def test_classes_are_set_only_where_they_changed(monkeypatch):
    model = tiny_code().eval()
    ClassQuery(('cat', 'dog'), None).ask(model)
    assert list(model.class_names) == ['cat', 'dog'] and model.num_classes == 2
    ClassQuery(('cat', 'dog'), 0.3).ask(model)
    assert list(model.class_names) == ['background', 'cat', 'dog']
    calls = []
    monkeypatch.setattr(model, 'set_class_names', calls.append)
    ClassQuery(('cat', 'dog'), 0.3).ask(model)
    assert calls == []
    ClassQuery(('cat', 'dog'), 0.4).ask(model)
    assert model.background_threshold == 0.4
    assert calls == [('background', 'cat', 'dog')]
