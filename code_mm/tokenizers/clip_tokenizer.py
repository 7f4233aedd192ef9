"""CLIP's byte-pair tokenizer, on the vocabulary and the merging of ``mmseg.utils.tokenizer``."""

from functools import lru_cache

import regex
from mmseg.utils.tokenizer import SimpleTokenizer, basic_clean, whitespace_clean
from torch import Tensor

from code_mm.registry import TOKENIZERS

from .tokenizer import Tokenizer

START_OF_TEXT = '<|startoftext|>'
END_OF_TEXT = '<|endoftext|>'

# Words whose ids are remembered: the cache of a loader's worker must not grow with the corpus.
_MAX_CACHED_WORDS = 100_000
# Merging takes time quadratic in the length of a word, minutes for junk of 50 000 letters. What is
# cut off lies behind every text tower's last position: a token holds 32 bytes at most.
_MAX_WORD_BYTES = 77 * 32
# Texts whose ids are remembered: nouns come again and again, several times per sample.
_MAX_CACHED_TEXTS = 2**15


class _BytePairs(SimpleTokenizer):
    """mmseg's with CLIP's names for the special tokens, which texts may spell out."""

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
def _byte_pairs() -> _BytePairs:
    """The vocabulary of this process (built on first use, it takes ~0.1 s)."""
    return _BytePairs()


@lru_cache(maxsize=_MAX_CACHED_TEXTS)
def _encode(text: str) -> tuple[int, ...]:
    return tuple(_byte_pairs().encode(text))


@TOKENIZERS.register_module()
class CLIPTokenizer(Tokenizer):
    """CLIP's: lower case, unicode mended, HTML entities resolved; 49408 ids.

    ``tokenize('a dog', 4) -> [[49406, 320, 1929, 49407]]``. All instances of a process share the
    vocabulary and what it remembers.
    """

    start_ids = (49406,)
    end_id = 49407

    def encode(self, text: str) -> list[int]:
        return list(_encode(text))

    def text_lengths(self, ids: Tensor) -> Tensor:
        # The highest id, also in a vocabulary that was cut to the tokens in use.
        return ids.argmax(-1) + 1


def clean_text(text: str) -> str:
    """The text as the tokenizer reads it, case kept: unicode mended, entities resolved.

    Noun selection works on this form, so that an ``&amp;`` of a web caption does not yield a noun
    "amp" that no token of the caption stands for.
    """
    if text.isascii() and text.isprintable() and '&' not in text:
        return ' '.join(text.split())  # nothing to mend: the same, thirty times as fast
    return whitespace_clean(basic_clean(text))
