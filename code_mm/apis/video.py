"""Videos as streams of frames, and frames as videos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mmcv
import numpy as np

VIDEO_SUFFIXES = frozenset(['.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm'])
# What is assumed where a file does not say its frames per second.
_DEFAULT_RATE = 25.0


def is_video(path: str | Path) -> bool:
    """Whether a path has the suffix of a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def open_video(path: str | Path) -> mmcv.VideoReader:
    """A reader of a video; raises FileNotFoundError or ValueError where there is none."""
    if not Path(path).is_file():
        raise FileNotFoundError(f'expected a video, but {str(path)!r} does not exist')
    video = mmcv.VideoReader(str(path))
    if not video.opened or not video.width:
        raise ValueError(f'expected a video, but OpenCV cannot read {str(path)!r} as one')
    return video


def read_frames(video: mmcv.VideoReader) -> Iterator[np.ndarray]:
    """Frames (H, W, 3), BGR, one after the other to the last that can be decoded."""
    while (frame := video.read()) is not None:
        yield frame


def frame_rate(video: mmcv.VideoReader) -> float:
    """Frames per second; 25 where the file does not say."""
    return video.fps if 0 < video.fps < 1000 else _DEFAULT_RATE


def join_frames(folder: Path, out: Path, rate: float) -> None:
    """Write frames ``000000.jpg``, ``000001.jpg`` ... of one size as an MPEG-4 video.

    Raises:
        OSError: OpenCV has no such encoder; the frames are kept.
    """
    mmcv.frames2video(str(folder), str(out), fps=rate, fourcc='mp4v', show_progress=False)
    if not out.is_file() or not out.stat().st_size:
        raise OSError(f'OpenCV could not write {out}; the frames are in {folder}')
