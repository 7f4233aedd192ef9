from types import SimpleNamespace

import pytest
import torch

from code_mm.engine.hooks import ClassNamesHook


def model():
    told = []
    return SimpleNamespace(told=told, set_class_names=told.append)


def runner(model, *names):
    dataset = SimpleNamespace(metainfo=dict(classes=names)) if names else object()
    loop = SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset))
    return SimpleNamespace(model=model, val_loop=loop, test_loop=loop)


def test_names_are_given_before_every_run_and_own_ones_stand_over_the_data_sets(tmp_path):
    file, names = tmp_path / 'pets.txt', ['cat|kitten', 'dog']
    file.write_text('# ours\ncat|kitten\ndog\n')
    for given, expected in ((None, ['a', 'b']), (tuple(names), names), (str(file), names)):
        run, hook = runner(model(), 'a', 'b'), ClassNamesHook(class_names=given)
        hook.before_val_epoch(run)
        hook.before_val_epoch(run)  # same names, but the weights may have moved
        hook.before_test_epoch(run)
        assert run.model.told == [expected] * 3
    assert hook.class_names.source == str(file)
    run = runner(model())  # a data set without names
    hook.before_val_epoch(run)
    assert run.model.told == [names]


@pytest.mark.parametrize(
    ('names', 'run', 'error', 'match'),
    [
        (['cat'], runner(model(), 'a', 'b'), ValueError, r'expected 2 class_names.*but got 1'),
        (None, runner(model()), ValueError, 'object has none; give the key class_names'),
        (None, runner(torch.nn.Linear(1, 1), 'a'), TypeError, 'set_class_names.*got Linear'),
        (['cat', 3], runner(model()), TypeError, 'list of strings'),
        ('cat', runner(model()), ValueError, "path of a file with class names, but got 'cat'"),
    ],
)
def test_mistakes_are_named(names, run, error, match):
    with pytest.raises(error, match=match):
        ClassNamesHook(names).before_val_epoch(run)
