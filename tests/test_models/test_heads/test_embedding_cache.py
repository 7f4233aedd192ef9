import pytest
import torch
from code_mm.models.heads.embedding_cache import EmbeddingCache, weights_fingerprint
from torch import nn


class Counted:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return (torch.full((1,), float(self.calls)), None)


@pytest.fixture
def tower():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def test_the_same_phrases_are_embedded_once(tower):
    cache, embed = EmbeddingCache(), Counted()
    first = cache.get(('cat', 'dog'), [tower], embed)
    assert cache.get(('cat', 'dog'), [tower], embed) is first
    assert cache.get(('dog', 'cat'), [tower], embed)[0] == 2
    assert cache.get(('cat', 'dog'), [tower], embed) is first  # another list came between
    assert embed.calls == 2
    cache.clear()
    cache.get(('cat', 'dog'), [tower], embed)
    assert embed.calls == 3


@pytest.mark.parametrize(
    'change',
    [
        lambda tower: tower[0].weight.data.mul_(1 + 1e-6),  # .data leaves no trace in autograd
        lambda tower: tower[0].bias.data.neg_(),
        lambda tower: tower[0].weight.data[0, 0].add_(1e-6),
        lambda tower: tower[0].weight.data.copy_(tower[0].weight.flip(0)),
        lambda tower: tower[1].running_mean.add_(1e-3),
        lambda tower: tower.double(),
        lambda tower: tower.load_state_dict({k: v + 1 for k, v in tower.state_dict().items()}),
    ],
)
def test_changed_weights_are_noticed(tower, change):
    cache, embed = EmbeddingCache(), Counted()
    before = weights_fingerprint(tower)
    assert weights_fingerprint(tower) == before
    cache.get('cat', [tower], embed)
    change(tower)
    assert weights_fingerprint(tower) != before
    cache.get('cat', [tower], embed)
    assert embed.calls == 2


def test_weights_put_back_are_known_again(tower):
    """As averaged weights are exchanged for those of training, and back."""
    cache, embed = EmbeddingCache(), Counted()
    cache.get('cat', [tower], embed)
    kept = tower[0].weight.data.clone()
    tower[0].weight.data.zero_()
    cache.get('cat', [tower], embed)
    tower[0].weight.data.copy_(kept)
    assert cache.get('cat', [tower], embed)[0] == 1
    assert embed.calls == 2


def test_memory_is_bounded():
    cache, embed = EmbeddingCache(), Counted()
    for number in range(40):
        cache.get(number, [], embed)
    cache.get(39, [], embed)
    assert embed.calls == 40
    cache.get(0, [], embed)  # the oldest is gone
    assert embed.calls == 41


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_type_of_weights(dtype):
    one, other = nn.Linear(2, 2).to(dtype), nn.Linear(2, 2).to(dtype)
    assert weights_fingerprint(one) != weights_fingerprint(other)
    other.load_state_dict(one.state_dict())
    assert weights_fingerprint(one) == weights_fingerprint(other)
