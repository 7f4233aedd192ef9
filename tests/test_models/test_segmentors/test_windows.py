import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef

from code_mm.models.segmentors.windows import average_by_rows, window_starts


def boxes(size, crop, stride):
    """mmseg's ``slide_inference``, written out: its windows (y1, y2, x1, x2), in order."""
    (height, width), found = size, []
    rows = max(height - crop[0] + stride[0] - 1, 0) // stride[0] + 1
    columns = max(width - crop[1] + stride[1] - 1, 0) // stride[1] + 1
    for row in range(rows):
        for column in range(columns):
            y2 = min(row * stride[0] + crop[0], height)
            x2 = min(column * stride[1] + crop[1], width)
            found.append((max(y2 - crop[0], 0), y2, max(x2 - crop[1], 0), x2))
    return found


def scores_of(windows, _=None):
    """Scores that depend on where in its window a pixel is: [n, 3, h, w]."""
    h, w = windows.shape[2:]
    return windows * (torch.linspace(0, 1, h)[:, None] * torch.linspace(1, 2, w))


def expected_mean(images, crop, stride):
    total, count = torch.zeros_like(images), torch.zeros(images.shape[2:])
    for y1, y2, x1, x2 in boxes(images.shape[2:], crop, stride):
        total[:, :, y1:y2, x1:x2] += scores_of(images[:, :, y1:y2, x1:x2])
        count[y1:y2, x1:x2] += 1
    return total / count


@pytest.mark.parametrize(
    ('length', 'starts'),
    [(448, [0]), (449, [0, 1]), (672, [0, 224]), (673, [0, 224, 225]), (100, [0])],
)
def test_the_last_window_is_shifted_inwards(length, starts):
    assert window_starts(length, 448, 224) == starts


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
        for window, (y1, y2, x1, x2) in zip(own, boxes(size, crop, stride), strict=True):
            assert torch.equal(window, images[image, :, y1:y2, x1:x2])


def test_rows_come_as_soon_as_no_further_window_touches_them():
    images, heights, handed_out = torch.rand(1, 3, 50, 10), [], []

    def predict(windows, _):
        # no rows are held behind the caller's back
        assert all(storage.expired() for storage in handed_out)
        return scores_of(windows)

    for part in average_by_rows(images, predict, (20, 10), (10, 10)):
        heights.append(part.shape[2])
        assert part.untyped_storage().nbytes() <= 4 * 3 * 20 * 10
        handed_out.append(StorageWeakRef(part.untyped_storage()))
        del part
    assert heights == [10, 10, 10, 20]


def test_half_precision_scores_are_summed_in_single():
    images = torch.rand(1, 3, 8, 100)
    (rows,) = average_by_rows(images, lambda w, _: scores_of(w).half(), (8, 8), (8, 1))
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows, expected_mean(images, (8, 8), (8, 1)), atol=1e-3, rtol=0)
