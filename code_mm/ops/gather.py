"""Collectives that losses need, with gradients, and identity in one process."""

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of processes of the training, 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Index of this process in [0, world_size), 0 without a process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


class _AllGather(torch.autograd.Function):
    """All-gather along axis 0 whose backward sums the gradients of all processes.

    ``torch.distributed.nn.functional.all_gather`` does the same but is deprecated in torch 2.13,
    and its successor is private in the versions before.
    """

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.rows = x.shape[0]
        parts = [torch.empty(x.shape, dtype=x.dtype, device=x.device) for _ in range(world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[rank() * ctx.rows : (rank() + 1) * ctx.rows]


def gather(x: Tensor) -> Tensor:
    """Concatenate a tensor over processes, rank after rank, with gradient.

    In the backward pass each process receives the *sum* over processes of the gradients that reach
    its part. With the averaging of DistributedDataParallel, D processes of b images then train
    exactly as one process of D * b images.

    Args:
        x (Tensor): [n, ...], of the same shape and dtype on every process.

    Returns:
        Tensor: [n * world_size, ...]; ``x`` itself in one process.
    """
    return x if world_size() == 1 else _AllGather.apply(x)


def mean_over_processes(x: Tensor) -> Tensor:
    """Mean over processes of a tensor of one shape, with gradient (identity in one process)."""
    return x if world_size() == 1 else gather(x.unsqueeze(0)).mean(0)
