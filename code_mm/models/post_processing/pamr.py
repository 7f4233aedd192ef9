"""Pixel-adaptive mask refinement."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from code_mm.registry import MODELS

DIRECTIONS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0))
"""The 8 neighbours of a pixel, in units of the dilation."""

STD_FACTOR, STD_EPS = 0.1, 1e-8
"""Contrast at which an affinity has fallen to 1/e, in local standard deviations."""


def _neighbours(x: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """Views [..., h, w] of `x`, shifted to each neighbour; the border is replicated."""
    h, w = x.shape[-2:]
    reach = max(dilations)
    padded = F.pad(x, [reach] * 4, mode='replicate')
    for d in dilations:
        for dy, dx in DIRECTIONS:
            top, left = reach + dy * d, reach + dx * d
            yield padded[..., top : top + h, left : left + w]


def pixel_affinity(image: Tensor, dilations: Sequence[int]) -> Tensor:
    """How much a pixel resembles each neighbour: [b, 3, h, w] -> [b, 8 * len(dilations), h, w].

    ``softmax(mean_over_channels(-|x - x_n| / (0.1 * std + 1e-8)))`` with the unbiased standard
    deviation, per channel, over the 9 positions of every dilation (so the centre counts once per
    dilation). The scale of the image cancels.
    """
    count = 9 * len(dilations)
    total, squares = torch.zeros_like(image), torch.zeros_like(image)
    # Differences from the centre, which itself adds zeros: no cancellation in the variance.
    for neighbour in _neighbours(image, dilations):
        difference = neighbour - image
        total = total + difference
        squares = squares + difference * difference
    variance = (squares - total * total / count) / (count - 1)
    # The floor keeps the square root's gradient finite on flat areas; it is below any contrast.
    scale = 1 / (STD_EPS + STD_FACTOR * variance.clamp_min(1e-20).sqrt())
    affinity = [
        -((neighbour - image).abs() * scale).mean(1) for neighbour in _neighbours(image, dilations)
    ]
    return torch.stack(affinity, 1).softmax(1)


def neighbour_indices(
    height: int, width: int, dilations: Sequence[int], device: torch.device | str | None = None
) -> Tensor:
    """Which pixels, counted row by row, are the neighbours of each; in `pixel_affinity`'s order.

    Beyond the border stands the pixel on the border. int32 [height * width, 8 * len(dilations)],
    computed where it is wanted.
    """
    rows = torch.arange(height, device=device, dtype=torch.int32)[:, None]
    columns = torch.arange(width, device=device, dtype=torch.int32)
    indices = [
        (rows + dy * d).clamp(0, height - 1) * width + (columns + dx * d).clamp(0, width - 1)
        for d in dilations
        for dy, dx in DIRECTIONS
    ]
    return torch.stack(indices, -1).flatten(0, 1)


@MODELS.register_module()
class PAMR(nn.Module):
    """Pixel-adaptive mask refinement (Araslanov & Roth, CVPR 2020; thesis §4.1).

    Smooths masks along the image's own edges, without parameters. It refines soft masks or scores
    of any segmentation model. Weighted neighbours are summed in place of being copied, so memory
    is a few masks, not 8 * len(dilations) of them.

    Args:
        num_iter (int): Steps, >= 0; in each, every pixel becomes the affinity-weighted mean of
            its neighbours.
        dilations (Sequence[int]): Distances of the 8 neighbours each, in pixels of the grid.
        grid (str): 'mask': the image is resized to the masks (as CoDe predicts); 'image': the
            masks are resized to the image. Bilinear, corners aligned.
        chunk (int, optional): Classes refined at a time (None: all). Results do not depend on it;
            a few at a time stay in the processor's cache and bound memory.

    Raises:
        ValueError: A number is out of range, or the grid is unknown.
    """

    def __init__(
        self,
        num_iter: int = 10,
        dilations: Sequence[int] = (1, 2, 4, 8, 12, 24),
        grid: str = 'mask',
        chunk: int | None = 32,
    ) -> None:
        super().__init__()
        whole = dilations and all(isinstance(d, int) and d >= 1 for d in dilations)
        for name, value, valid, expected in (
            ('num_iter', num_iter, num_iter >= 0, '>= 0'),
            ('dilations', dilations, whole, 'integers >= 1'),
            ('grid', grid, grid in ('mask', 'image'), "'mask' or 'image'"),
            ('chunk', chunk, chunk is None or chunk >= 1, '>= 1 or None'),
        ):
            if not valid:
                raise ValueError(f'expected {name} to be {expected}, but got {value!r}')
        self.num_iter, self.dilations, self.grid, self.chunk = num_iter, dilations, grid, chunk

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Refine masks.

        Args:
            image (Tensor): [b, 3, H, W], normalised or not.
            mask (Tensor): [b, n, h, w], probabilities or scores.

        Returns:
            Tensor: [b, n, h, w], or [b, n, H, W] on the image's grid; dtype of ``mask``,
            computed in fp32 at least.
        """
        if image.dim() != 4 or mask.dim() != 4 or len(image) != len(mask):
            raise ValueError(
                'expected image [b, 3, H, W] and mask [b, n, h, w], but got '
                f'{tuple(image.shape)} and {tuple(mask.shape)}'
            )
        dtype = torch.promote_types(mask.dtype, torch.float32)
        image, refined = image.to(dtype), mask.to(dtype)
        if self.grid == 'mask':
            image = _resize(image, mask.shape[-2:])
        else:
            refined = _resize(refined, image.shape[-2:])
        affinity = pixel_affinity(image, self.dilations)
        neighbours = neighbour_indices(*refined.shape[-2:], self.dilations, refined.device)
        images = [self._refine(*pair, neighbours) for pair in zip(refined, affinity, strict=True)]
        return torch.stack(images).to(mask.dtype)

    def _refine(self, mask: Tensor, affinity: Tensor, neighbours: Tensor) -> Tensor:
        """Refine the masks [n, h, w] of one image."""
        affinity = affinity.flatten(1).T.contiguous()
        chunks = []
        for part in mask.split(self.chunk or len(mask)):
            part = part.flatten(1).T.contiguous()
            for _ in range(self.num_iter):
                # A weighted sum over rows of a table, which PyTorch has as one kernel: no
                # neighbour is copied.
                part = F.embedding_bag(neighbours, part, mode='sum', per_sample_weights=affinity)
            chunks.append(part.T)
        return torch.cat(chunks).view_as(mask)


def _resize(x: Tensor, size: Sequence[int]) -> Tensor:
    if x.shape[-2:] == tuple(size):
        return x
    return F.interpolate(x, tuple(size), mode='bilinear', align_corners=True)
