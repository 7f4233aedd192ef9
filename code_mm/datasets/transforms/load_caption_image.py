"""Decoding of the image of a caption sample."""

import io
import os
import stat
import warnings

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from PIL import Image, UnidentifiedImageError

from code_mm.datasets.shards.tar_members import MAX_MEMBER
from code_mm.registry import TRANSFORMS
from code_mm.structures.unusable_sample import UnusableSample

_JPEG_START, _JPEG_END = b'\xff\xd8', b'\xff\xd9'
_PNG_START = b'\x89PNG\r\n\x1a\n'
_ANY_JPEG = cv2.imencode('.jpg', np.zeros((8, 8, 3), np.uint8))[1].tobytes()


@TRANSFORMS.register_module()
class LoadCaptionImage(BaseTransform):
    """Decode an image, from bytes or from a file, to three 8-bit channels.

    Grey, palette, CMYK and 16-bit images are converted, alpha is dropped, the EXIF
    orientation applied. What is no image, or only the beginning of one, too small or too large,
    is an :class:`UnusableSample`.

    Required Keys:

    - img_bytes (bytes), which is removed, or img_path (str)

    Added Keys:

    - img (np.uint8, (H, W, 3), BGR)
    - img_shape, ori_shape (tuple[int, int]): (H, W) in pixels

    Args:
        min_size (int): Least width and height in pixels.
        imdecode_backend (str): Backend of :func:`mmcv.imfrombytes`.
        backend_args (dict, optional): File backend of mmengine for ``img_path``. Default: files of
            this machine only, as what a list names may also be a URL, a device or a pipe.
        max_pixels (int, optional): Most pixels, by the header, before anything is decoded: a few
            bytes can claim gigabytes. At most Pillow's own limit (179 million). None: OpenCV's (a
            thousand million).
    """

    def __init__(
        self,
        min_size: int = 16,
        imdecode_backend: str = 'cv2',
        backend_args: dict | None = None,
        max_pixels: int | None = 2**26,
    ) -> None:
        if min_size < 1:
            raise ValueError(f'expected min_size >= 1 pixel, but got {min_size}')
        if max_pixels is not None and max_pixels < 1:
            raise ValueError(f'expected max_pixels >= 1 or None, but got {max_pixels}')
        self.min_size, self.max_pixels = min_size, max_pixels
        self.imdecode_backend, self.backend_args = imdecode_backend, backend_args
        try:  # a fault of the setting, which must not count as one of every image
            mmcv.imfrombytes(_ANY_JPEG, backend=imdecode_backend)
        except Exception as error:
            raise ValueError(
                f'imdecode_backend={imdecode_backend!r} decodes no JPEG: {error}'
            ) from error

    def transform(self, results: dict) -> dict:
        """Add the decoded image; raise UnusableSample where there is none."""
        content = self._content(results)
        try:
            if content.startswith(_PNG_START) and not _is_whole_png(content):
                raise ValueError('the PNG is cut, or claims more than the file holds')
            if self.max_pixels is not None:
                self._check_claim(content)
            img = self._decode(content)
        except UnusableSample:
            raise
        except Exception as error:  # each format's reader has errors of its own
            raise UnusableSample('broken_image', str(error).strip()) from error
        height, width = img.shape[:2]
        if min(height, width) < self.min_size:
            detail = f'{width}x{height} pixels, min_size={self.min_size}'
            raise UnusableSample('small_image', detail)
        results['img'] = img
        results['img_shape'] = results['ori_shape'] = (height, width)
        return results

    def _content(self, results: dict) -> bytes:
        if 'img_bytes' in results:
            return results.pop('img_bytes')
        if 'img_path' not in results:
            raise KeyError(
                f'expected img_bytes or img_path in the sample, but it has {sorted(results)}; use '
                'CaptionShardsDataset or CaptionListDataset'
            )
        if self.backend_args is None:
            return read_image_file(results['img_path'])
        try:
            return fileio.get(results['img_path'], backend_args=self.backend_args)
        except (OSError, ValueError) as error:
            raise UnusableSample('missing_image', str(error)) from error

    def _check_claim(self, content: bytes) -> None:
        """Refuse an image by the size in its header, where Pillow can read it."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore', Image.DecompressionBombWarning)
                width, height = Image.open(io.BytesIO(content)).size
        except Image.DecompressionBombError as error:  # Pillow's own limit comes first
            raise UnusableSample('large_image', str(error)) from error
        except UnidentifiedImageError as error:
            raise ValueError(f'{len(content)} bytes without the header of an image') from error
        if width * height > self.max_pixels:
            detail = f'{width}x{height} pixels, max_pixels={self.max_pixels}'
            raise UnusableSample('large_image', detail)

    def _decode(self, content: bytes) -> np.ndarray:
        # Some versions of OpenCV paint the missing part of a cut JPEG grey.
        if content.startswith(_JPEG_START) and _JPEG_END not in content:
            raise ValueError('the end of the JPEG is missing')
        img = mmcv.imfrombytes(content, flag='color', backend=self.imdecode_backend)
        if img is None or img.ndim != 3 or img.dtype != np.uint8:
            raise ValueError(f'{len(content)} bytes that are no image')
        return img


def read_image_file(path: str) -> bytes:
    """The bytes of a regular file; raises UnusableSample where there is none of a fair size."""
    if '://' in str(path):
        detail = f'{path!r} is a URL; download it, as img2dataset does, or set backend_args'
        raise UnusableSample('missing_image', detail)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UnusableSample('missing_image', f'{path!r} is no file')
        with open(path, 'rb') as file:
            content = file.read(MAX_MEMBER + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise UnusableSample('missing_image', str(error)) from error
    if len(content) > MAX_MEMBER:
        raise UnusableSample('other', f'{path!r} has more than {MAX_MEMBER} bytes')
    return content


def _is_whole_png(content: bytes) -> bool:
    """Whether all chunks are there: OpenCV asks for as much memory as one claims to have."""
    place = len(_PNG_START)
    while place < len(content):
        if content[place + 4 : place + 8] == b'IEND':
            return True
        place += 12 + int.from_bytes(content[place : place + 4], 'big')
    return False
