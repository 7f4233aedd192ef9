"""Memory of windows; their scores are shown against mmseg's in ``test_prediction.py``."""

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from code_mm.models.segmentors.windows import average_by_rows


def test_rows_come_as_soon_as_no_further_window_touches_them():
    """Half precision is summed in single: the mean of what windows show is the image."""
    images, heights, handed_out = torch.rand(1, 3, 50, 10).half(), [], []

    def predict(windows, _):
        # no rows are held behind the caller's back
        assert all(storage.expired() for storage in handed_out)
        return windows.clone()

    for part in average_by_rows(images, predict, (20, 10), (10, 10)):
        start = sum(heights)
        heights.append(part.shape[2])
        assert part.dtype == torch.float32
        torch.testing.assert_close(part, images[:, :, start : start + heights[-1]].float())
        assert part.untyped_storage().nbytes() <= 4 * 3 * 20 * 10
        handed_out.append(StorageWeakRef(part.untyped_storage()))
        del part
    assert heights == [10, 10, 10, 20]
