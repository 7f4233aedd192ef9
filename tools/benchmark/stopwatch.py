"""Where the time of a step goes: every part's forward and backward, adding up to the whole."""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Callable, Iterator

import timing
import torch
from timing import replaced, synchronize
from torch import Tensor

REST = 'rest'
_WATCHING = 'watching'  # the work of this file itself, which is left out


class Stopwatch:
    """Cuts work into labelled pieces that never overlap, on the device's own clock.

    A part that runs inside another one takes its time away from that one. The backward pass is cut
    by PyTorch's sequence numbers, which say in which part a node of the graph was made.

    Args:
        device (torch.device): Where the work runs.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._moments: list = []
        self._labels: list[tuple[str, str]] = []
        self._sequence: list[int] = []  # number of the next node, when a forward part began
        self._parts: list[str] = []

    def mark(self, part: str, phase: str = 'forward') -> None:
        """From now on, time belongs to this part."""
        if phase == 'forward':
            self._sequence.append(_next_sequence_number())
            self._parts.append(part)
        self._labels.append((part, phase))
        self._moments.append(self._now())

    def timed(self, function: Callable, part: str) -> Callable:
        """``function``, whose time belongs to ``part``."""

        def run(*args, **kwargs):
            before = self._labels[-1] if self._labels else (REST, 'forward')
            self.mark(part, before[1])
            try:
                return function(*args, **kwargs)
            finally:
                self.mark(*before)

        return run

    def watch_backward(self, loss: Tensor) -> None:
        """Follow the backward pass of ``loss``, which comes next."""
        self.mark(_WATCHING)
        todo, seen = [loss.grad_fn], set()
        while todo:
            node = todo.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            todo += [child for child, _ in node.next_functions]
            # Storing a gradient has no number of its own, and counts with the node before.
            if type(node).__name__ != 'AccumulateGrad':
                place = bisect_right(self._sequence, node._sequence_nr()) - 1
                part = self._parts[max(place, 0)]
                node.register_prehook(lambda _, part=part: self._arrive(part))
        self.mark(REST, 'backward')

    def seconds(self) -> dict[tuple[str, str], float]:
        """Seconds by (part, phase), up to the last mark."""
        synchronize(self.device)
        totals: dict[tuple[str, str], float] = {}
        for label, start, end in zip(self._labels, self._moments, self._moments[1:], strict=False):
            if label[0] != _WATCHING:
                totals[label] = totals.get(label, 0.0) + self._between(start, end)
        return totals

    def _arrive(self, part: str) -> None:
        if self._labels[-1] != (part, 'backward'):
            self.mark(part, 'backward')

    def _now(self):
        if self.device.type == 'cpu':
            return timing.clock()
        event = getattr(torch, self.device.type).Event(enable_timing=True)
        event.record()
        return event

    def _between(self, start, end) -> float:
        return end - start if self.device.type == 'cpu' else start.elapsed_time(end) / 1000


@contextlib.contextmanager
def watched(watch: Stopwatch, root: object, parts: dict[str, list[str]]) -> Iterator[None]:
    """Time parts of a model for a while.

    Args:
        watch (Stopwatch): Where the time goes.
        root (object): The model.
        parts (dict[str, list[str]]): Names of its methods by part, ``backbone.visual.trunk``.

    Raises:
        AttributeError: The model has no such method.
    """
    with contextlib.ExitStack() as stack:
        for part, paths in parts.items():
            for path in paths:
                *owners, name = path.split('.')
                owner = root
                for step in owners:
                    owner = getattr(owner, step)
                method = getattr(owner, name)
                stack.enter_context(replaced(owner, name, watch.timed(method, part)))
        yield


def _next_sequence_number() -> int:
    """Number that the next node of the graph gets in this thread (the probe takes one)."""
    with torch.enable_grad(), torch.inference_mode(False):
        return torch.zeros((), requires_grad=True).view(()).grad_fn._sequence_nr()
