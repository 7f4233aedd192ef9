import pytest
import torch
from code_mm.models.segmentors.window_inference import average_by_rows, window_starts

SIZES = [(20, 20), (20, 30), (33, 41), (7, 50), (50, 7), (5, 6), (60, 21)]


def boxes(size, crop, stride):
    """mmseg's ``slide_inference``, written out: its windows (y1, y2, x1, x2), in order."""
    (height, width), found = size, []
    rows = max(height - crop[0] + stride[0] - 1, 0) // stride[0] + 1
    columns = max(width - crop[1] + stride[1] - 1, 0) // stride[1] + 1
    for row in range(rows):
        for column in range(columns):
            y2, x2 = (
                min(row * stride[0] + crop[0], height),
                min(column * stride[1] + crop[1], width),
            )
            found.append((max(y2 - crop[0], 0), y2, max(x2 - crop[1], 0), x2))
    return found


def scores_of(windows):
    """Scores that depend on where in its window a pixel is: [n, 4, h, w]."""
    h, w = windows.shape[2:]
    ramp = torch.linspace(0, 1, h)[:, None] * torch.linspace(1, 2, w)
    return torch.cat([windows * ramp, windows.mean((1, 2, 3), keepdim=True).expand(-1, 1, h, w)], 1)


def expected_mean(images, crop, stride):
    total, count = torch.zeros(len(images), 4, *images.shape[2:]), torch.zeros(images.shape[2:])
    for y1, y2, x1, x2 in boxes(images.shape[2:], crop, stride):
        total[:, :, y1:y2, x1:x2] += scores_of(images[:, :, y1:y2, x1:x2])
        count[y1:y2, x1:x2] += 1
    return total / count


@pytest.mark.parametrize(
    ('length', 'crop', 'stride', 'starts'),
    [
        (448, 448, 224, [0]),
        (449, 448, 224, [0, 1]),  # shifted inwards
        (672, 448, 224, [0, 224]),
        (673, 448, 224, [0, 224, 225]),
        (100, 448, 224, [0]),  # smaller than a window
        (20, 5, 5, [0, 5, 10, 15]),
        (1, 1, 1, [0]),
    ],
)
def test_starts(length, crop, stride, starts):
    assert window_starts(length, crop, stride) == starts


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('count', [1, 2, 3, 100])
@pytest.mark.parametrize('stride', [(10, 10), (20, 20), (7, 13)])
def test_mean_of_windows(size, count, stride):
    crop = (20, 20)
    images = torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(0))
    calls = []

    def predict(windows, numbers):
        calls.extend(zip(windows, numbers, strict=True))
        assert len(windows) <= count
        return scores_of(windows)

    rows = list(average_by_rows(images, predict, crop, stride, count))
    torch.testing.assert_close(torch.cat(rows, 2), expected_mean(images, crop, stride))
    # every window of every image once, with its own image's number
    wanted = boxes(size, crop, stride)
    assert len(calls) == 3 * len(wanted)
    for image in range(3):
        own = [window for window, number in calls if number == image]
        for window, (y1, y2, x1, x2) in zip(own, wanted, strict=True):
            assert torch.equal(window, images[image, :, y1:y2, x1:x2])


def test_rows_come_as_soon_as_no_further_window_touches_them():
    images = torch.rand(1, 3, 50, 10)
    rows = average_by_rows(images, lambda w, _: scores_of(w), (20, 10), (10, 10))
    assert [part.shape[2] for part in rows] == [10, 10, 10, 20]
    # no rows are held behind the caller's back
    for part in average_by_rows(images, lambda w, _: scores_of(w), (20, 10), (10, 10)):
        assert part.untyped_storage().nbytes() <= 4 * 4 * 20 * 10


def test_half_precision_scores_are_summed_in_single():
    images = torch.rand(1, 3, 8, 100)
    (rows,) = average_by_rows(images, lambda w, _: scores_of(w).half(), (8, 8), (8, 1))
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows, expected_mean(images, (8, 8), (8, 1)), atol=1e-3, rtol=0)


def test_gradients_pass():
    images = torch.rand(1, 3, 30, 20, requires_grad=True)
    rows = average_by_rows(images, lambda w, _: scores_of(w), (20, 20), (10, 10), 2)
    torch.cat(list(rows), 2).sum().backward()
    (own,) = torch.autograd.grad(expected_mean(images, (20, 20), (10, 10)).sum(), images)
    torch.testing.assert_close(images.grad, own)
