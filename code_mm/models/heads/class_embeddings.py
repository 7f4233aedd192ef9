"""Embeddings of class names from hand-written templates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from code_mm.models.backbones.clip import CLIPTextEncoder
from code_mm.ops import l2_normalize
from code_mm.tokenizers import end_of_text_index, tokenize

# Texts encoded at a time; bounds the memory for long class lists.
_BATCH = 256


@torch.no_grad()
def embed_class_names(
    text_encoder: CLIPTextEncoder, names: Sequence[str], templates: Sequence[str]
) -> Tensor:
    """Mean over templates of unit-length text embeddings, brought to unit length again.

    Args:
        text_encoder (CLIPTextEncoder): The text tower.
        names (Sequence[str]): Class names.
        templates (Sequence[str]): Sentences with one ``{}`` each.

    Returns:
        Tensor: Unit-length embeddings [len(names), c] on the tower's device.

    Raises:
        ValueError: A name is too long for the tower; names it.
    """
    sentences = [template.format(name) for name in names for template in templates]
    token_ids = tokenize(sentences, text_encoder.context_length, truncate=False)
    token_ids = trim_padding(token_ids)
    device = text_encoder.positional_embedding.device
    embeds = torch.cat([text_encoder(ids.to(device)) for ids in token_ids.split(_BATCH)])
    embeds = l2_normalize(embeds, dim=-1).unflatten(0, (len(names), len(templates)))
    return l2_normalize(embeds.mean(dim=1), dim=-1)


def trim_padding(token_ids: Tensor) -> Tensor:
    """Cut columns behind the end of the longest text: [n, l] -> [n, <= l].

    Exact wherever only the end position is read, since the text tower is causal. Meant for ids
    that are still on the CPU: on a GPU it would wait for the device.
    """
    return token_ids[:, : int(end_of_text_index(token_ids).max()) + 1]
