"""A checksum that says which weights these are."""

import hashlib

import torch
from torch import Tensor, nn


def weights_sha256(model: nn.Module) -> str:
    """SHA-256 of names, types, shapes and bytes of all that a checkpoint of the model holds.

    Wherever the weights came from (a checkpoint, its converted form, ``init_cfg``), equal weights
    have equal sums. A ViT-B/16 takes a second or two.
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if not isinstance(value, Tensor):
            continue
        tensor = value.detach().cpu().contiguous()
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}\n'.encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
