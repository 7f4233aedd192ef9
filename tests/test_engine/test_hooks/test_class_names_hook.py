from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel

from code_mm.engine.hooks import ClassNamesHook
from code_mm.registry import HOOKS


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.calls = []

    def set_class_names(self, names):
        self.calls.append(names)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return inputs


class TwoImages(BaseDataset):
    def load_data_list(self):
        return [{}, {}]


def dataset(*names):
    return TwoImages(metainfo=dict(classes=names))


def runner(model, data):
    loop = SimpleNamespace(dataloader=SimpleNamespace(dataset=data))
    return SimpleNamespace(model=model, val_loop=loop, test_loop=loop)


def test_names_are_given_before_every_run():
    model, hook = Model(), HOOKS.build(dict(type='ClassNamesHook'))
    run = runner(model, dataset('cat', 'dog'))
    hook.before_val_epoch(run)
    hook.before_val_epoch(run)  # same names, but the weights may have moved
    hook.before_test_epoch(run)
    assert model.calls == [['cat', 'dog']] * 3


def test_class_names_override_those_of_the_dataset():
    model, names = Model(), ('kitten', 'puppy')
    hook = ClassNamesHook(class_names=names)
    hook.before_val_epoch(runner(model, dataset('cat', 'dog')))
    hook.before_val_epoch(runner(model, object()))  # a dataset without names
    assert model.calls == [['kitten', 'puppy']] * 2


def test_class_names_of_a_file(tmp_path):
    (tmp_path / 'pets.txt').write_text('# ours\ncat|kitten\ndog\n')
    model = Model()
    hook = ClassNamesHook(class_names=str(tmp_path / 'pets.txt'))
    hook.before_val_epoch(runner(model, dataset('a', 'b')))
    assert model.calls[0] == ['cat|kitten', 'dog']
    assert hook.class_names.source == str(tmp_path / 'pets.txt')
    with pytest.raises(ValueError, match="the path of a file with class names, but got 'cat'"):
        ClassNamesHook(class_names='cat')


@pytest.mark.parametrize(
    ('names', 'model', 'data', 'error', 'match'),
    [
        (['cat'], Model(), dataset('cat', 'dog'), ValueError, r'expected 2 class_names.*but got 1'),
        (None, Model(), object(), ValueError, 'object has none; give the key class_names'),
        (None, torch.nn.Linear(1, 1), dataset('cat'), TypeError, 'set_class_names.*got Linear'),
        (['cat', 3], Model(), object(), TypeError, 'list of strings'),
    ],
)
def test_mistakes_are_named(names, model, data, error, match):
    with pytest.raises(error, match=match):
        ClassNamesHook(names).before_val_epoch(runner(model, data))
