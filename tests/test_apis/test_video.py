import cv2
import numpy as np
import pytest

from code_mm.apis.video import frame_rate, is_video, join_frames, open_video, read_frames


def test_frames_become_a_video_and_frames_again(tmp_path):
    folder = tmp_path / 'frames'
    folder.mkdir()
    for i in range(5):
        frame = np.full((40, 64, 3), 40 * i, np.uint8)
        cv2.imwrite(str(folder / f'{i:06d}.jpg'), frame)
    join_frames(folder, tmp_path / 'a.mp4', 8.0)
    video = open_video(tmp_path / 'a.mp4')
    assert frame_rate(video) == pytest.approx(8.0)
    frames = list(read_frames(video))
    assert len(frames) == 5 and frames[0].shape == (40, 64, 3)
    for i, frame in enumerate(frames):
        assert abs(frame.mean() - 40 * i) < 6


def test_suffixes():
    assert is_video('a/b.MP4') and is_video('c.avi')
    assert not is_video('a.jpg') and not is_video('mp4')


def test_what_is_no_video(tmp_path):
    (tmp_path / 'a.mp4').write_text('no video')
    with pytest.raises(ValueError, match='OpenCV cannot read'):
        open_video(tmp_path / 'a.mp4')
    with pytest.raises(FileNotFoundError, match='does not exist'):
        open_video(tmp_path / 'b.mp4')


def test_an_encoder_that_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr('mmcv.frames2video', lambda *args, **keys: None)
    with pytest.raises(OSError, match=r'could not write .* the frames are in'):
        join_frames(tmp_path, tmp_path / 'a.mp4', 8.0)
