import pytest
import torch

from code_mm.ops import rank, world_size
from code_mm.registry import MODELS


def loss_and_gradients(config, inputs):
    """Loss and gradients of a registered loss on this process's share (rows) of the inputs."""
    module = MODELS.build(config)
    shares = [x.chunk(world_size())[rank()].clone() for x in inputs]
    leaves = [x.requires_grad_() for x in shares if x.is_floating_point()]
    loss = module(*shares)
    loss.backward()
    input_grads = [torch.zeros_like(x) if x.grad is None else x.grad for x in leaves]
    return loss.detach(), input_grads, [p.grad for p in module.parameters()]


@pytest.fixture
def assert_two_processes_equal_one(run_in_two_processes):
    """Asserts that DDP on two processes trains as one process on the joined batch."""

    def check(config, *inputs):
        loss, input_grads, parameter_grads = loss_and_gradients(config, inputs)
        results = run_in_two_processes(loss_and_gradients, config, inputs)
        losses, its_input_grads, its_parameter_grads = zip(*results, strict=True)
        torch.testing.assert_close(sum(losses) / 2, loss)
        for i, expected in enumerate(input_grads):
            # An input belongs to one process; averaging the parameter gradients halves its part.
            torch.testing.assert_close(torch.cat([g[i] for g in its_input_grads]) / 2, expected)
        for i, expected in enumerate(parameter_grads):
            torch.testing.assert_close(sum(g[i] for g in its_parameter_grads) / 2, expected)

    return check
