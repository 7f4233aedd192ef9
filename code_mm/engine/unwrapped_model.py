"""The model itself, out of what the Runner wraps around it."""

from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn


def unwrapped_model(model: nn.Module) -> nn.Module:
    """Take a model out of distributed wrappers and test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model
