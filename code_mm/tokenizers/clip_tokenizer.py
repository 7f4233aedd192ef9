"""CLIP's byte-pair tokenizer: strings in, token ids in the encoder's form out.

The vocabulary and the merging are :mod:`mmseg.utils.tokenizer`'s. Its special
tokens carry other names than CLIP's, so a text that spells out CLIP's own
``<|endoftext|>`` would be split into pieces there; the subclass below mends it.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import regex
import torch
from mmseg.utils.tokenizer import SimpleTokenizer, basic_clean, whitespace_clean
from torch import Tensor

START_OF_TEXT = '<|startoftext|>'
END_OF_TEXT = '<|endoftext|>'

# Distinct words whose ids are remembered; a corpus of millions of captions
# would otherwise grow the cache of every loader worker without end.
_MAX_CACHED_WORDS = 100_000
# Merging takes time quadratic in the length of a word, minutes for junk of 50 000 letters. What is
# cut off lies behind every text tower's last position: a token holds 32 bytes at most.
_MAX_WORD_BYTES = 77 * 32
# Texts whose ids are remembered: nouns come again and again, several times per sample.
_MAX_CACHED_TEXTS = 2**15


class ClipTokenizer(SimpleTokenizer):
    """MMSegmentation's CLIP tokenizer with CLIP's names for the special tokens."""

    def __init__(self) -> None:
        super().__init__()
        names = (START_OF_TEXT, END_OF_TEXT)
        for old, new in zip(('<start_of_text>', '<end_of_text>'), names, strict=True):
            token_id = self.encoder.pop(old)
            self.encoder[new] = token_id
            self.decoder[token_id] = new
        self._special_words = {name: name for name in names}
        self.cache = dict(self._special_words)
        self._word_ids: dict[str, list[int]] = {}
        self.pat = regex.compile(
            '|'.join(regex.escape(name) for name in names)
            + r"|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
            regex.IGNORECASE,
        )
        self.start_id = self.encoder[START_OF_TEXT]
        self.end_id = self.encoder[END_OF_TEXT]

    def encode(self, text: str) -> list[int]:
        """Token ids of a text: mmseg's, with the ids of whole words remembered."""
        words = self.pat.findall(clean_text(text).lower())
        return [token_id for word in words for token_id in self._ids(word)]

    def _ids(self, word: str) -> list[int]:
        ids = self._word_ids.get(word)
        if ids is None:
            if len(self._word_ids) >= _MAX_CACHED_WORDS:
                self._word_ids, self.cache = {}, dict(self._special_words)
            data = word.encode('utf-8')[:_MAX_WORD_BYTES]
            pieces = self.bpe(''.join(self.byte_encoder[byte] for byte in data))
            ids = self._word_ids[word] = [self.encoder[piece] for piece in pieces.split(' ')]
        return ids


@lru_cache(maxsize=1)
def clip_tokenizer() -> ClipTokenizer:
    """The tokenizer of this process (built on first use, it takes ~0.1 s)."""
    return ClipTokenizer()


def encode(text: str) -> list[int]:
    """Token ids of one text, without start, end and padding.

    Args:
        text: any string; it is lower-cased, its unicode mended and its HTML
            entities resolved as CLIP does.

    Returns:
        Ids in ``[0, 49408)``; empty for a blank text.
    """
    return list(_encode(text))


@lru_cache(maxsize=_MAX_CACHED_TEXTS)
def _encode(text: str) -> tuple[int, ...]:
    return tuple(clip_tokenizer().encode(text))


def tokenize(texts: str | Sequence[str], context_length: int = 77, truncate: bool = True) -> Tensor:
    """Token ids in the form in which CLIP's text tower takes them.

    A row is ``[start] tokens [end] 0 0 …``. A text that does not fit is cut, and
    its last id is then the end token, so that every row has one:
    ``tokenize('a dog', 4) -> [[49406, 320, 1929, 49407]]``.

    Args:
        texts: one text or ``n`` texts.
        context_length: number of positions ``l``, at least 2 (start and end).
        truncate: cut texts that do not fit; False: raise an error, as for words that a user asks
            for and that are not to be dropped in silence.

    Returns:
        Ids, int64, of shape ``(n, l)``.

    Raises:
        ValueError: ``context_length`` is too small, or a text is too long and not to be cut.
    """
    if context_length < 2:
        raise ValueError(
            f'expected context_length >= 2 (start and end token), but got {context_length}'
        )
    texts = [texts] if isinstance(texts, str) else texts
    tokenizer = clip_tokenizer()
    rows = np.zeros((len(texts), context_length), np.int64)
    for row, text in zip(rows, texts, strict=True):
        ids = _encode(text)
        if not truncate and len(ids) > context_length - 2:
            raise ValueError(
                f"expected texts that fit the model's text context, but {text!r} takes "
                f'{len(ids)} tokens where {context_length - 2} fit; use a shorter phrase'
            )
        end = min(len(ids), context_length - 2) + 1
        row[0], row[1:end], row[end] = tokenizer.start_id, ids[: end - 1], tokenizer.end_id
    return torch.from_numpy(rows)


def end_of_text_index(ids: Tensor) -> Tensor:
    """Position of the first end-of-text token, where CLIP reads its embedding.

    The end token has the highest id of the vocabulary, hence the arg-max. A text
    that itself contains a literal ``<|endoftext|>`` ends there.

    Args:
        ids: token ids, shape ``(..., l)``.

    Returns:
        Positions in ``[0, l)``, int64, shape ``(...)``.
    """
    return ids.argmax(-1)


def token_texts(ids: Tensor | Sequence[int]) -> list[str]:
    """What each token stands for, for printing a caption token by token.

    Joined, the strings give the cleaned text back (with a blank after each word);
    bytes of a character that several tokens share show as replacement characters.

    Args:
        ids: token ids of one text, shape ``(l,)``; all of them are translated,
            padding included (cut with :func:`end_of_text_index` first).
    """
    tokenizer = clip_tokenizer()
    ids = ids.tolist() if isinstance(ids, Tensor) else ids
    special = (tokenizer.start_id, tokenizer.end_id)
    return [
        tokenizer.decoder[token] if token in special else tokenizer.decode([token]) for token in ids
    ]


def clean_text(text: str) -> str:
    """The text as the tokenizer reads it, case kept: unicode mended, entities resolved.

    Noun selection works on this form, so that an ``&amp;`` of a web caption does
    not yield a noun "amp" that no token of the caption stands for.
    """
    if text.isascii() and text.isprintable() and '&' not in text:
        return ' '.join(text.split())  # nothing to mend: the same, thirty times as fast
    return whitespace_clean(basic_clean(text))
