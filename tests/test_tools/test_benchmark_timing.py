"""tools/benchmark/timing.py and stopwatch.py: the unit, turns, memory, and whose time it is."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_model import images, tiny_clip
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools' / 'benchmark'))
import timing
from stopwatch import REST, Stopwatch, watched

CPU = torch.device('cpu')


@pytest.mark.parametrize('size', [(32, 32), (24, 48)])
def test_the_unit_is_the_image_tower(size):
    visual, image = tiny_clip().visual, images(2, *size)
    expected = visual.encode(image)
    torch.testing.assert_close(timing.plain_tower(visual, image), expected)
    torch.testing.assert_close(timing.unit_of(visual, image, torch.float32)(), expected)
    half = timing.unit_of(visual, image, torch.bfloat16)()
    assert half.dtype == torch.bfloat16 and visual.proj.dtype == torch.float32
    torch.testing.assert_close(half.float(), expected, atol=0.2, rtol=0.1)


def test_turns():
    done = []
    works = {name: lambda n=name: done.append(n) for name in ('U', 'a', 'b')}
    seconds = timing.time_in_turns(works, CPU, rounds=2, warmup=1)
    assert ''.join(done) == 'UabUabUabU'
    assert {name: len(times) for name, times in seconds.items()} == dict(U=3, a=2, b=2)
    with pytest.raises(ValueError, match='rounds >= 1 and warmup >= 0, but got 0 and 1'):
        timing.time_in_turns(works, CPU, rounds=0)


def test_a_slow_spell_of_the_machine_leaves_units_alone():
    seconds = dict(U=[1.0, 1.0, 3.0, 3.0], a=[2.0, 4.0, 6.0])
    assert timing.in_units(seconds) == dict(a=2.0)


def test_shares_are_medians_of_those_in_a_round():
    rounds = [dict(a=1.0, b=3.0), dict(a=20.0, b=20.0), dict(b=2.0)]
    assert timing.shares(rounds) == dict(a=0.25, b=0.75)


def test_peak_memory_is_that_of_tensors_held_at_once():
    before = torch.ones(1000)

    def work():
        first = torch.empty(3000)
        second = torch.empty(2000)
        del first
        third = torch.empty(500) + before[:500]
        return second, third

    assert timing.peak_memory(work, CPU) == 4 * 5000
    assert timing.peak_memory(lambda: before.mul_(2), CPU) < 100


class Steps(Stopwatch):
    """A stopwatch whose clock moves only when it is told to."""

    def __init__(self):
        super().__init__(CPU)
        self.time = 0.0

    def _now(self):
        return self.time


class Slow(torch.autograd.Function):
    """Identity that takes 1 forward and ``cost`` backward."""

    @staticmethod
    def forward(ctx, x, watch, cost):
        ctx.watch, ctx.cost = watch, cost
        watch.time += 1
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        ctx.watch.time += ctx.cost
        return grad, None, None


class Model(nn.Module):
    def __init__(self, watch):
        super().__init__()
        self.watch = watch
        self.inner = SimpleNamespace(first=self.first)
        self.weight = nn.Parameter(torch.ones(2))

    def first(self, x):
        return Slow.apply(x * self.weight, self.watch, 10)

    def second(self, x):
        x = Slow.apply(x, self.watch, 20)
        x = self.inner.first(x)
        return Slow.apply(x, self.watch, 30)

    def forward(self, x):
        return Slow.apply(self.second(x), self.watch, 40).sum()


def test_time_goes_to_the_innermost_part_forward_and_backward():
    watch = Steps()
    model = Model(watch)
    with watched(watch, model, dict(one=['inner.first'], two=['second'])):
        watch.mark(REST)
        loss = model(torch.ones(2, requires_grad=True))
        watch.watch_backward(loss)
        loss.backward()
        watch.time += 5
        watch.mark(REST)
    seconds = watch.seconds()
    forward = {part: t for (part, phase), t in seconds.items() if phase == 'forward'}
    assert forward == {'one': 1, 'two': 2, REST: 1}
    backward = {part: t for (part, phase), t in seconds.items() if phase == 'backward'}
    # what follows the last node still counts for its part
    assert backward['one'] == 10 and backward[REST] == 40 and backward['two'] == 20 + 30 + 5
    assert model.second.__func__ is Model.second and 'second' not in vars(model)


def test_a_part_that_is_not_there():
    model = Model(Steps())
    with (
        pytest.raises(AttributeError, match='third'),
        watched(model.watch, model, dict(two=['second'], three=['inner.third'])),
    ):
        pass
    assert 'second' not in vars(model)
