"""Masks as uncompressed run-length encoding of COCO."""

import numpy as np


def encode_run_lengths(mask: np.ndarray) -> dict:
    """Encode a mask as COCO's uncompressed RLE.

    Pixels are read column by column; ``counts`` are the lengths of runs, that of 0 first (0 where
    the mask begins with 1). ``pycocotools.mask.frPyObjects`` reads it.

    Args:
        mask (np.ndarray): (H, W), bool or 0/1.

    Returns:
        dict: ``size`` [H, W] and ``counts``, a list of ints that add up to ``H * W``.
    """
    if mask.ndim != 2:
        raise ValueError(f'expected a mask (H, W), but got shape {mask.shape}')
    pixels = np.asarray(mask, bool).ravel(order='F')
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    counts = np.diff(np.concatenate([[0], changes, [pixels.size]])).tolist()
    if pixels.size and pixels[0]:
        counts.insert(0, 0)
    return dict(size=list(mask.shape), counts=counts)


def decode_run_lengths(encoded: dict) -> np.ndarray:
    """The mask (H, W), bool, of :func:`encode_run_lengths`."""
    counts, size = encoded['counts'], tuple(encoded['size'])
    if sum(counts) != size[0] * size[1]:
        raise ValueError(f'expected counts that add up to {size[0] * size[1]}, got {sum(counts)}')
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(size, order='F')
