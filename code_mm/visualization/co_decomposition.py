"""The co-decomposition picture: regions of an image and words of its caption in one colour."""

from collections.abc import Sequence

import cv2
import numpy as np

from .caption_words import CaptionWord, caption_words, noun_occurrences, word_weights
from .lettering import WHITE, Colour, TextPiece, draw_legend, draw_text
from .panels import below, beside, check_image, panel_size, resize_image

# Distinguishable with the common kinds of colour blindness (Okabe and Ito 2008),
# black left out and the strongest first.
NOUN_COLOURS: tuple[Colour, ...] = (
    (230, 90, 0),
    (0, 114, 200),
    (0, 158, 115),
    (204, 80, 160),
    (240, 200, 40),
    (86, 190, 240),
)
_REGION_OPACITY = 0.6
_OUTSIDE_BRIGHTNESS = 0.55
_SATURATION = 0.35


def noun_colours(k: int) -> list[Colour]:
    """Colours of ``k`` nouns; repeated after the sixth."""
    return [NOUN_COLOURS[j % len(NOUN_COLOURS)] for j in range(k)]


def overlay_regions(
    image: np.ndarray, masks: np.ndarray, colours: Sequence[Colour], opacity: float
) -> np.ndarray:
    """Lay coloured soft masks over an image, paled, and dark where no mask is.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB.
        masks (np.ndarray): (k, H, W) in [0, 1].
        colours (Sequence[Colour]): ``k`` colours.
        opacity (float): Of a mask of value 1, in [0, 1].

    Returns:
        np.ndarray: (H, W, 3) uint8 RGB.
    """
    covered = np.clip(masks.max(axis=0), 0, 1)[..., None] if len(masks) else 0.0
    # nearly grey, so that no colour of the image is taken for that of a noun
    grey = image.mean(axis=2, keepdims=True)
    pale = _SATURATION * image + (1 - _SATURATION) * grey
    ground = pale * (_OUTSIDE_BRIGHTNESS + (1 - _OUTSIDE_BRIGHTNESS) * covered)
    total = np.maximum(masks.sum(axis=0), 1.0)[..., None] if len(masks) else 1.0
    alpha = [opacity * mask[..., None] / total for mask in masks]
    paint = sum(a * np.float32(c) for a, c in zip(alpha, colours, strict=True))
    picture = np.round(ground * (1 - sum(alpha)) + paint).clip(0, 255).astype(np.uint8)
    for mask, colour in zip(masks, colours, strict=True):
        hard = (mask > 0.5).astype(np.uint8)
        outline, _ = cv2.findContours(hard, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outline, -1, colour, thickness=2)
    return picture


def draw_co_decomposition(
    image: np.ndarray,
    region_masks: np.ndarray,
    caption: str,
    word_masks: np.ndarray | None,
    nouns: Sequence[str],
    colours: Sequence[Colour] | None = None,
    panel: int = 384,
    opacity: float = _REGION_OPACITY,
) -> np.ndarray:
    """Draw one pair as in thesis Fig. 4.2: left the input, right its decomposition.

    Left: the image, and below it the caption with the selected nouns underlined.
    Right: the region of each noun in the noun's colour (outlined where its mask
    is above 0.5), and below it the caption, each word on a ground as strong as
    its word mask.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB.
        region_masks (np.ndarray): (k, H, W) in [0, 1]; another grid is resized.
        caption (str): The caption as written.
        word_masks (np.ndarray, optional): (k, l) in [0, 1] over token positions,
            the start token first; None leaves the words uncoloured.
        nouns (Sequence[str]): The ``k`` selected nouns.
        colours (Sequence[Colour], optional): ``k`` RGB colours. Default:
            :data:`NOUN_COLOURS`.
        panel (int): Longer side of each image in the picture, in pixels.
        opacity (float): Of a region mask of value 1, in [0, 1].

    Returns:
        np.ndarray: (h, w, 3) uint8 RGB, about twice ``panel`` wide.

    Raises:
        ValueError: If the shapes do not fit together or masks leave [0, 1].
    """
    check_image(image)
    region_masks = _checked_masks(region_masks, 'region_masks', 'k, H, W', len(nouns))
    word_masks = np.zeros((len(nouns), 1)) if word_masks is None else word_masks
    word_masks = _checked_masks(word_masks, 'word_masks', 'k, l', len(nouns))
    colours = list(colours) if colours is not None else noun_colours(len(nouns))
    if len(colours) != len(nouns):
        raise ValueError(f'expected {len(nouns)} colours, one per noun, but got {len(colours)}')

    size = panel_size(image, panel)
    shown = resize_image(image, size)
    regions = overlay_regions(shown, _resized(region_masks, size), colours, opacity)
    asked, *found = _captions(caption, word_masks, nouns, colours, max(size[1], panel), panel // 22)
    return beside([below([shown, asked]), below([regions, *found])])


def _captions(
    caption: str,
    word_masks: np.ndarray,
    nouns: Sequence[str],
    colours: Sequence[Colour],
    width: int,
    letter: int,
) -> list[np.ndarray]:
    """The caption with its nouns underlined, the same with its words coloured, the legend."""
    words, letter = caption_words(caption), max(13, letter)
    weights = word_weights(words, word_masks)
    panels = [
        draw_text(_underlined(words, nouns, colours), width, letter),
        draw_text(_coloured(words, weights, colours), width, letter),
    ]
    return [*panels, draw_legend(nouns, colours, width, letter)] if nouns else panels


def _resized(masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    resized = [cv2.resize(m, size[::-1], interpolation=cv2.INTER_LINEAR) for m in masks]
    return np.stack(resized) if resized else np.zeros((0, *size), np.float32)


def _checked_masks(masks: np.ndarray, name: str, axes: str, k: int) -> np.ndarray:
    masks = np.asarray(masks, np.float32)
    if masks.ndim != axes.count(',') + 1 or len(masks) != k:
        raise ValueError(
            f'expected {name} of shape ({axes}) with k = {k} nouns, but got {masks.shape}'
        )
    if masks.size and not (masks.min() >= -1e-3 and masks.max() <= 1 + 1e-3):
        raise ValueError(
            f'expected {name} in [0, 1], but got [{masks.min():.3g}, {masks.max():.3g}]; '
            'give probabilities, not logits'
        )
    return masks.clip(0, 1)


def _underlined(
    words: list[CaptionWord], nouns: Sequence[str], colours: Sequence[Colour]
) -> list[TextPiece]:
    of_word = {}
    for noun, colour in zip(nouns, colours, strict=True):
        of_word.update(dict.fromkeys(noun_occurrences(words, noun), colour))
    return [
        TextPiece(word.text, underline=of_word.get(i), space_before=word.space_before)
        for i, word in enumerate(words)
    ]


def _coloured(
    words: list[CaptionWord], weights: np.ndarray, colours: Sequence[Colour]
) -> list[TextPiece]:
    pieces = []
    for i, word in enumerate(words):
        share = weights[:, i] / max(1.0, weights[:, i].sum())
        ground = np.float32(WHITE) * (1 - share.sum())
        ground = ground + sum(s * np.float32(c) for s, c in zip(share, colours, strict=True))
        ground = tuple(int(v) for v in np.round(ground))
        pieces.append(TextPiece(word.text, ground, space_before=word.space_before))
    return pieces
