"""Measuring in U, the time of one plain ViT-B/16 forward in the same run, and peak memory."""

from __future__ import annotations

import contextlib
import copy
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

UNIT = 'U'
MB = 2**20
clock = time.perf_counter
"""What seconds of a CPU are; --processor-time makes it the processor time of this process."""


def plain_tower(visual: nn.Module, image: Tensor) -> Tensor:
    """CLIP's image tower as plainly as it can be written: images [b, 3, H, W] -> [b, c].

    The unit of all figures. Written out here, so that no change of the package moves it.

    Args:
        visual (nn.Module): The ``CLIPImageEncoder`` whose weights it uses.
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


def unit_of(visual: nn.Module, image: Tensor, dtype: torch.dtype) -> Callable[[], object]:
    """The unit's work: inference mode, weights and images of ``dtype``."""
    if dtype != torch.float32:
        visual = copy.deepcopy(visual).to(dtype)
    image = image.to(dtype)

    def run() -> Tensor:
        with torch.inference_mode():
            return plain_tower(visual, image)

    return run


def precision(device: torch.device, dtype: torch.dtype):
    """Autocast to ``dtype``; nothing for fp32."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def synchronize(device: torch.device) -> None:
    """Wait for the device, so that the clock shows its work."""
    if device.type != 'cpu':
        getattr(torch, device.type).synchronize(device)


def time_in_turns(
    works: dict[str, Callable[[], object]], device: torch.device, rounds: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Seconds of every piece of work in every round, one after another: A B C, A B C, A ...

    What slows the machine down for a while then meets all of them. The unit, where there is one,
    also ends the last round, so that everything stands between two of it.

    Args:
        works (dict[str, Callable]): What to time, by name.
        device (torch.device): Where it runs.
        rounds (int): How often, at least 1.
        warmup (int): Rounds before that are not counted.
    """
    if rounds < 1 or warmup < 0:
        raise ValueError(f'expected rounds >= 1 and warmup >= 0, but got {rounds} and {warmup}')
    seconds = {name: [] for name in works}
    for i in range(warmup + rounds + 1):
        for name, work in works.items():
            if i == warmup + rounds and name != UNIT:
                continue
            elapsed = _time_once(work, device)
            if i >= warmup:
                seconds[name].append(elapsed)
    return seconds


def _time_once(work: Callable[[], object], device: torch.device) -> float:
    synchronize(device)
    start = clock()
    work()
    synchronize(device)
    return clock() - start


def in_units(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Medians over the rounds, each divided by the mean of the units before and after it."""
    unit = seconds[UNIT]
    return {
        name: statistics.median(
            t / ((unit[i] + unit[i + 1]) / 2) for i, t in enumerate(times[: len(unit) - 1])
        )
        for name, times in seconds.items()
        if name != UNIT
    }


def shares(rounds: list[dict]) -> dict:
    """Share of every part in the whole: the median over rounds of seconds by part.

    Shares of one round, since a machine that slows down in a round slows all parts of it.
    """
    names = dict.fromkeys(name for parts in rounds for name in parts)
    return {
        name: statistics.median(parts.get(name, 0.0) / sum(parts.values()) for parts in rounds)
        for name in names
    }


def peak_memory(work: Callable[[], object], device: torch.device) -> int:
    """Bytes that ``work`` holds at its peak beyond those held before it.

    Exact for what PyTorch's allocator gives out: on a CPU every allocation and release is
    recorded by ``torch.profiler`` and summed up; workspaces that oneDNN or MKL ask the system for
    themselves are not seen. On an accelerator the allocator counts.
    """
    if device.type != 'cpu':
        module = getattr(torch, device.type)
        synchronize(device)
        module.reset_peak_memory_stats(device)
        before = module.memory_allocated(device)
        work()
        synchronize(device)
        return module.max_memory_allocated(device) - before
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        kept = work()
    del kept
    events = profiler.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == '[memory]')
    held = peak = 0
    for _, change in changes:
        held += change
        peak = max(peak, held)
    return peak


@contextlib.contextmanager
def replaced(owner: object, name: str, value: object):
    """Let ``owner.name`` be ``value`` for a while, on this one object."""
    own = vars(owner).get(name, contextlib)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own is contextlib:
            delattr(owner, name)
        else:
            setattr(owner, name, own)
