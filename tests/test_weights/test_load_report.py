import pytest
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


def test_what_must_fit():
    state = model().state_dict()
    LoadReport.compare(model(), state, 'x', 'own').require_fit()
    del state['0.bias']
    report = LoadReport.compare(model(), state, 'x', 'own')
    report.require_fit(strict=False)
    report.require_fit(optional=['0.bias'])
    with pytest.raises(ValueError, match=r"x lacks 1 of its 4 parameters \['0.bias'\] and has 0"):
        report.require_fit()
    nothing = LoadReport.compare(model(), {'1.running_mean': torch.ones(3)}, 'x', 'own')
    with pytest.raises(ValueError, match='lacks 4 of its 4'):
        nothing.require_fit(strict=False)
