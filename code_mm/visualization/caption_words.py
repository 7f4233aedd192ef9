"""From BPE tokens of a caption to the words a reader sees."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from mmseg.utils.tokenizer import SimpleTokenizer, basic_clean, whitespace_clean


class CaptionWord(NamedTuple):
    """One word, number or run of punctuation of a caption."""

    text: str
    """As written in the caption (after repair of HTML entities and broken unicode)."""
    start: int
    """First token position; 1 for the first word, as position 0 is the start token."""
    stop: int
    """One past the last token position."""
    space_before: bool
    """Whether white space separates it from the previous word."""


@lru_cache(maxsize=1)
def _tokenizer() -> SimpleTokenizer:
    return SimpleTokenizer()


def caption_words(caption: str) -> list[CaptionWord]:
    """Split a caption the way CLIP's tokenizer does and say which tokens each word has.

    Example: in ``'a polar bear!'`` the words ``a``, ``polar``, ``bear``, ``!``
    have positions 1, 2, 3 and 4; a rare word may take several positions.

    Args:
        caption (str): Any text, unicode included; may be empty.

    Returns:
        list[CaptionWord]: In caption order. Positions are not cut at a context
        length.
    """
    tokenizer = _tokenizer()
    text = whitespace_clean(basic_clean(caption))
    lower = text.lower()
    # A few letters change their length in lower case (İ): show what CLIP reads.
    shown = text if len(text) == len(lower) else lower
    words, position, end = [], 1, 0
    for match in tokenizer.pat.finditer(lower):
        letters = ''.join(tokenizer.byte_encoder[b] for b in match.group().encode('utf-8'))
        stop = position + len(tokenizer.bpe(letters).split(' '))
        piece = shown[match.start() : match.end()]
        words.append(CaptionWord(piece, position, stop, bool(words) and match.start() > end))
        position, end = stop, match.end()
    return words


def word_weights(words: list[CaptionWord], word_masks: np.ndarray) -> np.ndarray:
    """Average a mask over the tokens of each word.

    Args:
        words (list[CaptionWord]): ``w`` words.
        word_masks (np.ndarray): (k, l) over token positions, the start token first.

    Returns:
        np.ndarray: (k, w); 0 for words that the context length ``l`` cut off
        (its last position is the end token).
    """
    weights = np.zeros((len(word_masks), len(words)))
    last = word_masks.shape[1] - 1
    for i, word in enumerate(words):
        if word.start < last:
            weights[:, i] = word_masks[:, word.start : min(word.stop, last)].mean(axis=1)
    return weights


def noun_occurrences(words: list[CaptionWord], noun: str) -> set[int]:
    """Find the words of a caption that belong to an occurrence of a noun.

    Args:
        words (list[CaptionWord]): Words of the caption.
        noun (str): One or several words; upper and lower case are the same.

    Returns:
        set[int]: Indices into ``words``.
    """
    sought = [word.text.lower() for word in caption_words(noun)]
    texts = [word.text.lower() for word in words]
    starts = [i for i in range(len(texts)) if sought and texts[i : i + len(sought)] == sought]
    return {i + j for i in starts for j in range(len(sought))}
