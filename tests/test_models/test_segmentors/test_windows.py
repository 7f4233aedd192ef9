import itertools

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef

from code_mm.models.segmentors.windows import average_by_rows


def boxes(size, crop, stride):
    """mmseg's ``slide_inference``, written out: its windows (rows, columns), in order."""
    (height, width), found = size, []
    rows = max(height - crop[0] + stride[0] - 1, 0) // stride[0] + 1
    columns = max(width - crop[1] + stride[1] - 1, 0) // stride[1] + 1
    for row, column in itertools.product(range(rows), range(columns)):
        y2 = min(row * stride[0] + crop[0], height)
        x2 = min(column * stride[1] + crop[1], width)
        found.append((slice(max(y2 - crop[0], 0), y2), slice(max(x2 - crop[1], 0), x2)))
    return found


def scores_of(windows, _=None):
    """Scores that depend on where in its window a pixel is: [n, 3, h, w]."""
    h, w = windows.shape[2:]
    return windows * (torch.linspace(0, 1, h)[:, None] * torch.linspace(1, 2, w))


def expected_mean(images, crop, stride):
    total, count = torch.zeros_like(images), torch.zeros(images.shape[2:])
    for box in boxes(images.shape[2:], crop, stride):
        total[(..., *box)] += scores_of(images[(..., *box)])
        count[box] += 1
    return total / count


@pytest.mark.parametrize('size', [(33, 41), (60, 21), (5, 6)])
@pytest.mark.parametrize(('stride', 'count'), [((20, 20), 3), ((7, 13), 100)])
def test_mean_of_windows(size, stride, count):
    crop, calls = (20, 20), []
    images = torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def predict(windows, numbers):
        calls.extend(zip(windows, numbers, strict=True))
        assert len(windows) <= count
        return scores_of(windows)

    mean = torch.cat(list(average_by_rows(images, predict, crop, stride, count)), 2)
    expected = expected_mean(images, crop, stride)
    torch.testing.assert_close(mean, expected)
    gradients = [torch.autograd.grad(each.sum(), images)[0] for each in (mean, expected)]
    torch.testing.assert_close(*gradients)
    # every window of every image once, with its own image's number
    for image in range(3):
        own = [window for window, number in calls if number == image]
        for window, box in zip(own, boxes(size, crop, stride), strict=True):
            assert torch.equal(window, images[(image, ..., *box)])


def test_rows_come_as_soon_as_no_further_window_touches_them():
    images, heights, handed_out = torch.rand(1, 3, 50, 10).half(), [], []

    def predict(windows, _):
        # no rows are held behind the caller's back
        assert all(storage.expired() for storage in handed_out)
        return scores_of(windows)

    for part in average_by_rows(images, predict, (20, 10), (10, 10)):
        assert part.dtype == torch.float32  # half precision is summed in single
        heights.append(part.shape[2])
        assert part.untyped_storage().nbytes() <= 4 * 3 * 20 * 10
        handed_out.append(StorageWeakRef(part.untyped_storage()))
        del part
    assert heights == [10, 10, 10, 20]
