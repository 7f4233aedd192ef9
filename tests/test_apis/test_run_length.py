import numpy as np
import pytest

from code_mm.apis.run_length import decode_run_lengths, encode_run_lengths


def test_counts_by_hand():
    """Columns first: 0 1 | 1 1 | 0 0."""
    mask = np.array([[0, 1, 0], [1, 1, 0]])
    assert encode_run_lengths(mask) == dict(size=[2, 3], counts=[1, 3, 2])
    assert encode_run_lengths(1 - mask) == dict(size=[2, 3], counts=[0, 1, 3, 2])
    assert encode_run_lengths(np.zeros((2, 2))) == dict(size=[2, 2], counts=[4])
    assert encode_run_lengths(np.ones((2, 2))) == dict(size=[2, 2], counts=[0, 4])


@pytest.mark.parametrize('share', [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize('shape', [(1, 1), (1, 7), (7, 1), (13, 9)])
def test_decoding_gives_the_mask_back(shape, share):
    mask = np.random.default_rng(0).random(shape) < share
    encoded = encode_run_lengths(mask)
    assert all(type(count) is int for count in encoded['counts'])
    # as pycocotools reads it: runs of 0 and 1 in turn, column by column
    slow = [i % 2 for i, count in enumerate(encoded['counts']) for _ in range(count)]
    assert slow == mask.ravel(order='F').astype(int).tolist()
    np.testing.assert_array_equal(decode_run_lengths(encoded), mask)


def test_mistakes():
    with pytest.raises(ValueError, match=r'mask \(H, W\), but got shape \(4,\)'):
        encode_run_lengths(np.zeros(4))
    with pytest.raises(ValueError, match='add up to 4, got 3'):
        decode_run_lengths(dict(size=[2, 2], counts=[3]))
