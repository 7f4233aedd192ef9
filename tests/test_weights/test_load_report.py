import torch
from torch import nn

from code_mm.weights import LoadReport


def model():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def test_loaded_missing_unexpected():
    state = {**model().state_dict(), 'text.a.b': torch.ones(1), 'text.a.c': torch.ones(1)}
    del state['0.bias']
    state['1.weight'] = torch.ones(4)
    report = LoadReport.compare(model(), state, 'x.pth', 'OpenAI layout')
    assert report.missing == ['0.bias']
    assert report.unexpected == ['text.a.b', 'text.a.c']
    assert report.wrong == {'1.weight': ((3,), (4,))}
    assert '0.weight' in report.loaded and '1.running_mean' in report.loaded
    assert str(report) == (
        'x.pth (OpenAI layout) -> Sequential: loaded 5, missing 1 (0.bias), '
        'unexpected 2 (text.a 2), of another size 1 (1.weight)'
    )
