"""Embeddings of phrases, kept for as long as the weights that made them stay."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch
from torch import Tensor, nn

from .embedding_files import EmbeddingFiles

# Class lists kept; the longest forgotten goes first. A hundred classes are a fifth of a megabyte.
_MAX_LISTS = 32


class EmbeddingCache:
    """Embeds the same phrases once, as long as no weight changes.

    Several benchmarks, or several evaluations, share class lists. Whether weights changed is
    read from their bits, so that nothing that writes to them (optimiser, averaged weights, a
    loaded checkpoint) has to report it.

    Args:
        files (EmbeddingFiles, optional): Where lists that are not in memory are looked for.
    """

    def __init__(self, files: EmbeddingFiles | None = None) -> None:
        self._files = files
        self._kept: OrderedDict[Hashable, tuple[Tensor | None, ...]] = OrderedDict()

    def get(
        self,
        key: Hashable,
        modules: list[nn.Module],
        embed: Callable[[], tuple[Tensor | None, ...]],
    ) -> tuple[Tensor | None, ...]:
        """What ``embed()`` gives, from memory where it was called before.

        Args:
            key (Hashable): All that the result depends on, but for weights: phrases, templates.
            modules (list[nn.Module]): Those whose weights it depends on.
            embed (Callable): Makes the embeddings; called where they are not known.
        """
        known = (key, *map(weights_fingerprint, modules))
        if known not in self._kept:
            made = self._files.get(key, modules, embed) if self._files else embed()
            self._kept[known] = made
        self._kept.move_to_end(known)
        while len(self._kept) > _MAX_LISTS:
            self._kept.popitem(last=False)
        return self._kept[known]

    def leave_disk(self) -> None:
        """Use memory only from now on."""
        self._files = None

    def clear(self) -> None:
        """Forget all of them, to free memory."""
        self._kept.clear()


def weights_fingerprint(module: nn.Module) -> tuple:
    """A summary of a module's parameters and buffers that differs when one of them does.

    Devices, types and a CRC of all bytes: a tenth of a second for the text tower of a ViT-B/16.
    """
    tensors = [tensor.detach() for tensor in (*module.parameters(), *module.buffers())]
    checksum = 0
    for tensor in tensors:
        values = tensor.cpu().contiguous().reshape(-1).view(torch.uint8)
        checksum = zlib.crc32(values.numpy(), checksum)
    return checksum, tuple((str(tensor.device), str(tensor.dtype)) for tensor in tensors)
