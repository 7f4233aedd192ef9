import pytest
import torch
import torch.nn.functional as F
from code_mm.models.segmentors.label_map import restore, restored_size, winning_class


def scores(classes, *size, levels=None):
    """Random scores [classes, h, w]; with few levels, full of ties."""
    generator = torch.Generator().manual_seed(classes)
    values = torch.rand(classes, *size, generator=generator)
    return values if levels is None else (values * levels).floor()


@pytest.mark.parametrize('size', [(9, 14), (31, 17), (5, 6), (40, 56)])
@pytest.mark.parametrize('chunk', [1, 3, 7, 50])
@pytest.mark.parametrize('align_corners', [False, True])
def test_chunks_give_the_arg_max_of_all(size, chunk, align_corners):
    x = scores(7, 9, 14)
    whole = F.interpolate(x[None], size, mode='bilinear', align_corners=align_corners)[0]
    label = winning_class(x, size, chunk, align_corners)
    assert label.dtype == torch.int64
    assert torch.equal(label, whole.argmax(dim=0, keepdim=True))


@pytest.mark.parametrize('chunk', [1, 2, 5])
def test_the_lowest_of_tied_classes_wins(chunk):
    x = scores(5, 12, 12, levels=2)
    expected = torch.empty(1, 12, 12, dtype=torch.int64)
    for y in range(12):
        for column in range(12):
            values = x[:, y, column].tolist()
            expected[0, y, column] = values.index(max(values))
    assert torch.equal(winning_class(x, (12, 12), chunk), expected)


@pytest.mark.parametrize('first', [0, 2, 4])
def test_nan_wins_as_in_argmax(first):
    x = scores(5, 4, 4)
    x[first, 1, 2] = x[4, 1, 2] = float('nan')
    for chunk in (1, 2, 5):
        assert torch.equal(winning_class(x, (4, 4), chunk), x.argmax(0, keepdim=True))


def test_padding_is_cut_off_and_a_flip_undone():
    x = scores(2, 10, 12)
    cut = x[:, 3:6, 1:10]
    meta = dict(padding_size=[1, 2, 3, 4])
    assert torch.equal(restore(x, meta), cut)
    assert restored_size((10, 12), meta) == (3, 9)
    # padding of the image goes before that of the batch, as in mmseg
    both = dict(padding_size=[0, 0, 0, 9], img_padding_size=[1, 2, 3, 4])
    assert torch.equal(restore(x, both), cut)
    assert restored_size((10, 12), both) == (3, 9)
    for direction, axis in (('horizontal', 2), ('vertical', 1)):
        flipped = restore(x, dict(meta, flip=True, flip_direction=direction))
        assert torch.equal(flipped, cut.flip(axis))
    assert torch.equal(restore(x, dict(flip=False, flip_direction=None)), x)


def test_another_flip_is_refused():
    with pytest.raises(ValueError, match="'horizontal' or 'vertical', but got 'diagonal'"):
        restore(scores(2, 4, 4), dict(flip=True, flip_direction='diagonal'))
