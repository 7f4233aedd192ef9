"""Time in U, that of one plain ViT-B/16 forward in the same run; parts of a step; peak memory."""

from __future__ import annotations

import contextlib
import copy
import statistics
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import accumulate, pairwise
from operator import attrgetter
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.benchmark import timer

UNIT, MB = 'U', 2**20
clock = timer
"""Seconds, when the device is done; ``--processor-time`` makes it this process' processor time."""


def plain_tower(visual: nn.Module, image: Tensor) -> Tensor:
    """CLIP's image tower as plainly as it can be written: images [b, 3, H, W] -> [b, c].

    The unit of all figures. Written out here, so that no change of the package moves it.

    Args:
        visual (nn.Module): The ``CLIPImageTower`` whose weights it uses.
        image (Tensor): Normalised images.
    """
    x = visual.conv1(image)
    grid = tuple(x.shape[-2:])
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], dim=1)
    x = visual.ln_pre(x + visual._positions(grid))
    for block in visual.transformer.resblocks:
        attn, mlp = block.attn, block.mlp
        qkv = F.linear(block.ln_1(x), attn.in_proj_weight, attn.in_proj_bias)
        q, k, v = (t.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for t in qkv.chunk(3, dim=-1))
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + attn.out_proj(attended)
        hidden = mlp.c_fc(block.ln_2(x))
        x = x + mlp.c_proj(hidden * torch.sigmoid(1.702 * hidden))
    return visual.ln_post(x[:, 0]) @ visual.proj


def unit_of(visual: nn.Module, image: Tensor, dtype: torch.dtype) -> Callable[[], Tensor]:
    """The unit's work: inference mode, weights and images of ``dtype``."""
    if dtype != torch.float32:
        visual = copy.deepcopy(visual).to(dtype)
    image = image.to(dtype)
    return torch.inference_mode()(lambda: plain_tower(visual, image))


def precision(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager:
    """Autocast to ``dtype``; nothing for fp32, which PyTorch 2.1 refuses even where disabled."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)


def time_in_turns(
    works: dict[str, Callable[[], object]], rounds: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Seconds of every piece of work in every round, one after another: A B C, A B C, A ...

    What slows the machine down for a while then meets all of them. The unit, where there is one,
    also ends the last round, so that everything stands between two of it.

    Args:
        works (dict[str, Callable]): What to time, by name.
        rounds (int): How often, at least 1.
        warmup (int): Rounds before that are not counted.
    """
    seconds = {name: [] for name in works}
    for i in range(warmup + rounds + 1):
        for name, work in works.items():
            if i == warmup + rounds and name != UNIT:
                continue
            start = clock()
            work()
            if i >= warmup:
                seconds[name].append(clock() - start)
    return seconds


def in_units(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Medians over the rounds, each divided by the mean of the units before and after it."""
    units = [statistics.fmean(pair) for pair in pairwise(seconds[UNIT])]
    return {
        name: statistics.median(t / unit for t, unit in zip(times, units, strict=True))
        for name, times in seconds.items()
        if name != UNIT
    }


def peak_memory(work: Callable[[], object], device: torch.device) -> int:
    """Bytes that ``work`` holds at its peak beyond those held before it.

    On a CPU every allocation and release of PyTorch's allocator is recorded by ``torch.profiler``
    and summed up (docs/performance.md); on an accelerator the allocator counts.
    """
    if device.type != 'cpu':
        module = getattr(torch, device.type)
        module.reset_peak_memory_stats(device)
        before = module.memory_allocated(device)
        work()
        return module.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        kept = work()
    del kept
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == '[memory]']
    # PyTorch 2.1 counts in microseconds; events of the same one stay in their order
    events.sort(key=lambda e: e.start_ns() if hasattr(e, 'start_ns') else e.start_us())
    return max(accumulate((event.nbytes() for event in events), initial=0))


class Stopwatch:
    """Cuts work into labelled parts that never overlap, on the device's own clock.

    A part that runs inside another one takes its time away from that one. The backward pass is cut
    by autograd's sequence numbers, which say in which part a node of the graph was made.

    Args:
        device (torch.device): Where the work runs.
    """

    REST = 'rest'
    _WATCHING = 'watching'  # the work of this class itself, which is left out

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._marks: list[tuple[tuple[str, str], object]] = []  # (part, phase) and its beginning
        self._numbers: list[int] = []  # of the next node when a forward part began
        self._parts: list[str] = []

    def mark(self, part: str, phase: str = 'forward') -> None:
        """From now on, time belongs to this part."""
        if phase == 'forward':
            # the probe takes a number for itself
            with torch.enable_grad(), torch.inference_mode(False):
                probe = torch.zeros((), requires_grad=True).view(())
            self._numbers.append(probe.grad_fn._sequence_nr())
            self._parts.append(part)
        self._marks.append(((part, phase), self._now()))

    @contextlib.contextmanager
    def watching(self, *watched: tuple[object, dict[str, str]]) -> Iterator[None]:
        """Time parts for a while, which begins and ends with the rest.

        Args:
            *watched: Objects, and the part that each of their methods (``backbone.trunk``)
                belongs to; classes, and the parts of their cached properties.

        Raises:
            AttributeError: There is no such method.
        """
        with contextlib.ExitStack() as stack:
            for root, parts in watched:
                for path, part in parts.items():
                    owners, _, name = path.rpartition('.')
                    owner = attrgetter(owners)(root) if owners else root
                    stack.enter_context(patch.object(owner, name, self._watched(owner, name, part)))
            self.mark(self.REST)
            yield
            self.mark(self.REST)

    def watch_backward(self, loss: Tensor) -> None:
        """Follow the backward pass of ``loss``, which comes next."""
        self.mark(self._WATCHING)
        todo, seen = [loss.grad_fn], {None}
        while todo:
            node = todo.pop()
            if node in seen:
                continue
            seen.add(node)
            todo += [child for child, _ in node.next_functions]
            # Storing a gradient has no number of its own, and counts with the node before.
            if type(node).__name__ != 'AccumulateGrad':
                place = bisect_right(self._numbers, node._sequence_nr()) - 1
                part = self._parts[max(place, 0)]
                node.register_prehook(lambda _, part=part: self._arrive(part))
        self.mark(self.REST, 'backward')

    def seconds(self) -> dict[tuple[str, str], float]:
        """Seconds by (part, phase), up to the last mark."""
        clock()  # waits for the device
        totals: dict[tuple[str, str], float] = {}
        on_cpu = self.device.type == 'cpu'
        for (label, start), (_, end) in pairwise(self._marks):
            elapsed = end - start if on_cpu else start.elapsed_time(end) / 1e3
            totals[label] = totals.get(label, 0.0) + elapsed
        return {label: seconds for label, seconds in totals.items() if label[0] != self._WATCHING}

    def _watched(self, owner: object, name: str, part: str) -> object:
        if isinstance(owner, type):
            timed = cached_property(self._timed(vars(owner)[name].func, part))
            timed.__set_name__(owner, name)
            return timed
        return self._timed(getattr(owner, name), part)

    def _timed(self, function: Callable, part: str) -> Callable:
        def run(*args, **kwargs):
            before, _ = self._marks[-1]
            self.mark(part, before[1])
            try:
                return function(*args, **kwargs)
            finally:
                self.mark(*before)

        return run

    def _arrive(self, part: str) -> None:
        if self._marks[-1][0] != (part, 'backward'):
            self.mark(part, 'backward')

    def _now(self) -> object:
        if self.device.type == 'cpu':
            return clock()
        event = getattr(torch, self.device.type).Event(enable_timing=True)
        event.record()
        return event


def median_ratio(times: list[float], others: list[float]) -> float:
    """The median over the rounds of what one took to what the other took."""
    return statistics.median(a / b for a, b in zip(times, others, strict=True))


def parts_in_units(rounds: list[dict], whole: float) -> dict:
    """Units of every part: the median over rounds of its share, times the units of the whole.

    Shares of one round, since a machine that slows down in a round slows all parts of it.
    """
    names = dict.fromkeys(name for parts in rounds for name in parts)
    return {
        name: whole
        * statistics.median(parts.get(name, 0) / sum(parts.values()) for parts in rounds)
        for name in names
    }
