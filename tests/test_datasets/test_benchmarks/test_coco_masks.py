"""COCO's masks against their definitions."""

import numpy as np
import pytest

from code_mm.datasets.benchmarks.coco_masks import decode_mask


def compress(counts):
    """COCO's text of run lengths, by its definition: five bits a character, lowest first."""
    text = ''
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        while True:
            chunk, value = value & 31, value >> 5
            done = value == (-1 if chunk & 16 else 0)
            text += chr(48 + (chunk if done else chunk + 32))
            if done:
                break
    return text


def runs(mask):
    """Lengths of the runs down the columns, slowly."""
    counts, current = [0], False
    for value in mask.T.ravel():
        if value != current:
            counts.append(0)
            current = value
        counts[-1] += 1
    return counts


def test_run_lengths_go_down_the_columns():
    expected = np.array([[0, 1, 1], [1, 1, 0]], bool)
    assert (decode_mask(dict(size=[2, 3], counts=[1, 4, 1]), 2, 3) == expected).all()


@pytest.mark.parametrize('seed', range(2))
def test_all_run_length_spellings(seed):
    rng = np.random.default_rng(seed)
    mask = np.kron(rng.integers(0, 2, (4, 3)), np.ones((30, 25))).astype(bool)
    mask[:, 30:45] = True
    size, counts = [120, 75], runs(mask)
    assert max(counts) > 1024  # numbers of several characters
    text = compress(counts)
    for spelling in (counts, text, text.encode()):
        assert (decode_mask(dict(size=size, counts=spelling), *size) == mask).all()


def test_parts_are_united_and_leave_the_image():
    parts = [[-5, -5, 3, -5, 3, 3, -5, 3], [2, 2, 20, 2, 20, 20, 2, 20]]
    expected = np.zeros((8, 8), bool)
    expected[:3, :3] = expected[2:, 2:] = True
    assert (decode_mask(parts, 8, 8) == expected).all()
    assert not decode_mask([], 8, 8).any()


@pytest.mark.parametrize(
    ('segmentation', 'message'),
    [
        (dict(size=[4, 5], counts=[20]), r'size of its image \[5, 4\], but got \[4, 5\]'),
        (dict(size=[5, 4], counts=[19]), r'sum 5 \* 4 = 20, but got 19'),
        (dict(size=[5, 4], counts='P'), 'Invalid RLE'),
        ([[1, 2, 3, 4]], 'at least three points, but got 4 numbers'),
        ([[1, 2, 3, 4, 5, 6, 7]], 'at least three points, but got 7 numbers'),
    ],
)
def test_damaged_masks_are_named(segmentation, message):
    with pytest.raises(ValueError, match=message):
        decode_mask(segmentation, 5, 4)
