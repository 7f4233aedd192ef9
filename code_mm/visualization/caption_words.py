"""From the tokens of a caption to the words a reader sees."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import regex

from code_mm.tokenizers import CLIPTokenizer, Tokenizer, clean_text

# Letters, numbers, runs of punctuation: no token of a tokenizer reaches over their ends.
_WORD = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}+|[^\s\p{L}\p{N}]+", regex.IGNORECASE)


class CaptionWord(NamedTuple):
    """One word, number or run of punctuation of a caption."""

    text: str  # as written in the caption (HTML entities and broken unicode mended)
    start: int  # first token position: 1 for the first word, where position 0 is the start token
    stop: int  # one past the last token position
    space_before: bool  # whether white space separates it from the previous word


def caption_words(caption: str, tokenizer: Tokenizer | None = None) -> list[CaptionWord]:
    """Split a caption into words, with the positions of their tokens, not cut at a context length.

    In ``'a polar bear!'`` the words ``a``, ``polar``, ``bear``, ``!`` have positions 1, 2, 3 and 4;
    a rare word may take several. ``tokenizer`` is CLIP's by default.
    """
    tokenizer = tokenizer or CLIPTokenizer()
    text = clean_text(caption)
    lower = text.lower()  # in which CLIP reads it, and words do not look like broken unicode
    shown = text if len(text) == len(lower) else lower  # a few letters change their length (İ)
    words, end, position = [], 0, len(tokenizer.start_ids)
    for match in _WORD.finditer(lower):
        stop = position + len(tokenizer.encode(match.group()))
        piece = shown[match.start() : match.end()]
        words.append(CaptionWord(piece, position, stop, bool(words) and match.start() > end))
        position, end = stop, match.end()
    return words


def word_weights(words: list[CaptionWord], word_masks: np.ndarray) -> np.ndarray:
    """Average masks (k, l) over the tokens of each word.

    Returns:
        np.ndarray: (k, words); 0 for words that the context length ``l`` cut off (its last position
        is the end token).
    """
    weights = np.zeros((len(word_masks), len(words)))
    last = word_masks.shape[1] - 1
    for i, word in enumerate(words):
        if word.start < min(word.stop, last):
            weights[:, i] = word_masks[:, word.start : min(word.stop, last)].mean(axis=1)
    return weights


def noun_occurrences(words: list[CaptionWord], noun: str) -> set[int]:
    """Indices of the words that belong to an occurrence of a noun; case does not count."""
    sought = [word.text.lower() for word in caption_words(noun)]
    texts = [word.text.lower() for word in words]
    starts = [i for i in range(len(texts)) if sought and texts[i : i + len(sought)] == sought]
    return {i + j for i in starts for j in range(len(sought))}
