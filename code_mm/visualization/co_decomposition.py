"""The co-decomposition picture: regions of an image and words of its caption in one colour."""

from collections.abc import Sequence

import cv2
import numpy as np

from code_mm.tokenizers import Tokenizer

from .caption_words import CaptionWord, caption_words, noun_occurrences, word_weights
from .colours import NOUN_COLOURS
from .lettering import WHITE, Colour, TextPiece, draw_legend, draw_text
from .panels import below, beside, panel_size, resize_image

_REGION_OPACITY = 0.6
_OUTSIDE_BRIGHTNESS = 0.55
_SATURATION = 0.35


def draw_co_decomposition(
    image: np.ndarray,
    region_masks: np.ndarray,
    caption: str,
    word_masks: np.ndarray | None,
    nouns: Sequence[str],
    panel: int = 384,
    tokenizer: Tokenizer | None = None,
) -> np.ndarray:
    """Draw one pair as in thesis Fig. 4.2: left the input, right its decomposition.

    Left: the image, and below it the caption with the selected nouns underlined. Right: the region
    of each noun in the noun's colour (outlined where its mask is above 0.5), and below it the
    caption, each word on a ground as strong as its word mask.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB.
        region_masks (np.ndarray): (k, H, W) in [0, 1]; another grid is resized.
        caption (str): The caption as written.
        word_masks (np.ndarray, optional): (k, l) in [0, 1] over token positions, the start token
            first; None leaves the words uncoloured.
        nouns (Sequence[str]): The ``k`` selected nouns.
        panel (int): Longer side of each of the two images in pixels.
        tokenizer (Tokenizer, optional): The model's; CLIP's by default.
    """
    if word_masks is None:
        word_masks = np.zeros((len(nouns), 1))
    colours = [NOUN_COLOURS[j % len(NOUN_COLOURS)] for j in range(len(nouns))]

    size = panel_size(image, panel)
    shown = resize_image(image, size)
    masks = [cv2.resize(mask, size[::-1]) for mask in np.float32(region_masks)]
    regions = _overlay_regions(shown, np.reshape(masks, (len(nouns), *size)), colours)
    words = caption_words(caption, tokenizer)
    width, letter = max(size[1], panel), max(13, panel // 22)
    found = [draw_text(_coloured(words, word_weights(words, word_masks), colours), width, letter)]
    noun_of = {
        i: c for n, c in zip(nouns, colours, strict=True) for i in noun_occurrences(words, n)
    }
    underlined = [
        TextPiece(word.text, underline=noun_of.get(i), space_before=word.space_before)
        for i, word in enumerate(words)
    ]
    asked = draw_text(underlined, width, letter)
    if nouns:
        found.append(draw_legend(nouns, colours, width, letter))
    return beside([below([shown, asked]), below([regions, *found])])


def _overlay_regions(image: np.ndarray, masks: np.ndarray, colours: Sequence[Colour]) -> np.ndarray:
    """Soft masks (k, H, W) in colour over the image, which is paled, and dark where no mask is."""
    covered = masks.max(axis=0, initial=0)[..., None]
    # nearly grey, so that no colour of the image is taken for that of a noun
    grey = image.mean(axis=2, keepdims=True)
    pale = _SATURATION * image + (1 - _SATURATION) * grey
    ground = pale * (_OUTSIDE_BRIGHTNESS + (1 - _OUTSIDE_BRIGHTNESS) * covered)
    alpha = _REGION_OPACITY * masks / np.maximum(masks.sum(axis=0), 1.0)  # k, H, W
    paint = np.einsum('khw, kc -> hwc', alpha, np.reshape(colours, (-1, 3)))
    picture = ground * (1 - alpha.sum(axis=0)[..., None]) + paint
    picture = np.round(picture).clip(0, 255).astype(np.uint8)
    for mask, colour in zip(masks, colours, strict=True):
        hard = (mask > 0.5).astype(np.uint8)
        outline, _ = cv2.findContours(hard, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outline, -1, colour, thickness=2)
    return picture


def _coloured(
    words: list[CaptionWord], weights: np.ndarray, colours: Sequence[Colour]
) -> list[TextPiece]:
    share = weights / np.maximum(1.0, weights.sum(axis=0))  # k, words
    grounds = np.outer(1 - share.sum(axis=0), WHITE) + share.T @ np.reshape(colours, (-1, 3))
    return [
        TextPiece(word.text, tuple(map(int, ground)), space_before=word.space_before)
        for word, ground in zip(words, np.round(grounds), strict=True)
    ]
