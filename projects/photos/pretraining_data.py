"""What pre-training reads: photographs and captions, once through both frozen towers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import mmcv
import torch
import torch.nn.functional as F
import webdataset as wds
from safetensors.torch import load_file, save_file
from torch import Tensor

from code_mm.atomic_write import atomic_write
from code_mm.nouns import NounSelector

from .backbone import EfficientNetMiniLM
from .name_table import shipped_names, singular_forms

SIZE = 256
"""Side of the photographs, in pixels; the network's own is 260."""

GRID = 4
"""Cells a side that are kept: means of 2 x 2 cells of the network."""


@dataclass(frozen=True)
class EncodedCaptions:
    """Photographs and their captions behind the frozen towers.

    Attributes:
        cells (Tensor): Features before pooling, not mean-free [n, GRID * GRID, c].
        sentences (Tensor): Unit-length sentence embeddings of the captions [n, k, w].
        captions (list[list[str]]): The captions themselves, k of each photograph.
    """

    cells: Tensor
    sentences: Tensor
    captions: list[list[str]]


def read_shard(path: str) -> Iterator[tuple[bytes, list[str]]]:
    """Photographs, as they stand in the file, and their captions."""
    for sample in wds.WebDataset([path], shardshuffle=False):
        yield sample['jpg'], json.loads(sample['json'])['captions']


def encode_shards(
    backbone: EfficientNetMiniLM, shards: Sequence[str], folder: Path, count: int | None = None
) -> EncodedCaptions:
    """Encode the first ``count`` photographs (all by default) of shards, or read what was encoded.

    A shard's result is a file in ``folder``, which appears when the shard is done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    encoded, captions = [], []
    for path in shards:
        samples = list(read_shard(path))
        if count is not None:
            samples = samples[: count - len(captions)]
        if not samples:
            break
        of_shard = [texts for _, texts in samples]
        file = folder / f'{Path(path).stem}.safetensors'
        if not file.exists():
            cells = encode_photos(backbone, [photo for photo, _ in samples])
            texts = [text for each in of_shard for text in each]
            sentences = encode_sentences(backbone, texts).unflatten(0, (len(samples), -1))
            with atomic_write(file) as unfinished:
                save_file(dict(cells=cells.half(), sentences=sentences), unfinished)
            print(f'{file}: {len(samples)} photographs', flush=True)
        encoded.append(load_file(file))
        captions += of_shard
    joined = {key: torch.cat([part[key] for part in encoded]) for key in encoded[0]}
    return EncodedCaptions(**joined, captions=captions)


def half_precision() -> torch.autocast:
    """bfloat16 on processors that multiply it, which is three times as fast; others emulate it."""
    return torch.autocast('cpu', torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported())


@torch.inference_mode()
def encode_photos(backbone: EfficientNetMiniLM, photos: Sequence[bytes], batch: int = 16) -> Tensor:
    """Cells [n, GRID * GRID, c] of photographs given as files, features as they are."""
    mean, std = (torch.tensor(x)[:, None, None] for x in (backbone.image_mean, backbone.image_std))
    parts = []
    for start in range(0, len(photos), batch):
        images = [
            mmcv.imresize(mmcv.imfrombytes(photo, channel_order='rgb'), (SIZE, SIZE))
            for photo in photos[start : start + batch]
        ]
        images = torch.stack([torch.from_numpy(image).permute(2, 0, 1) for image in images])
        # a third of the time of the usual layout
        images = ((images - mean) / std).contiguous(memory_format=torch.channels_last)
        with half_precision():
            cells = backbone.visual.cells(backbone.trunk(images)).float()
        parts.append(F.adaptive_avg_pool2d(cells, GRID).flatten(2).transpose(1, 2))
    return torch.cat(parts)


@torch.inference_mode()
def encode_sentences(
    backbone: EfficientNetMiniLM, texts: Sequence[str], batch: int = 128
) -> Tensor:
    """What the head gets of texts [n, w], which are encoded in the order of their lengths."""
    lengths = backbone.text_lengths(backbone.tokenize(texts))
    result = torch.empty(len(texts), backbone.text_width)
    for places in lengths.argsort().split(batch):
        ids = backbone.tokenize([texts[i] for i in places], int(lengths[places].max()))
        with half_precision():
            sentences = backbone.text.sentences(backbone.embed_tokens(ids), lengths[places])
        result[places] = sentences.float()
    return result


def noun_labels(captions: list[list[str]], fewest: int = 20) -> tuple[list[str], Tensor]:
    """Nouns of at least ``fewest`` photographs, and how many captions of each name them [n, v].

    Who names a man names a person, too: nouns count for all that stand above them in WordNet.
    """
    select, above = NounSelector('textblob'), shipped_names().above

    def named(text: str) -> set[str]:
        nouns = {singular_forms(noun.lower())[-1] for noun in select(text)}
        return nouns.union(*(above.get(noun, ()) for noun in nouns))

    found = [Counter(noun for text in texts for noun in named(text)) for texts in captions]
    seen = Counter(noun for of_photo in found for noun in of_photo)
    nouns = sorted(noun for noun, count in seen.items() if count >= fewest)
    labels = [[of_photo[noun] for noun in nouns] for of_photo in found]
    return nouns, torch.tensor(labels, dtype=torch.float32)
