"""MiniLM's WordPiece tokenizer."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from code_mm.registry import TOKENIZERS
from code_mm.tokenizers import Tokenizer, clean_text

from .packages import require_package, text_folder

if TYPE_CHECKING:
    import tokenizers

# Longer texts lie behind the last position, whatever they hold.
_MAX_LETTERS = 10_000


@lru_cache(maxsize=2)
def _word_pieces(file: Path) -> tokenizers.Tokenizer:
    pieces = require_package('tokenizers').Tokenizer.from_file(str(file))
    pieces.no_padding()
    pieces.no_truncation()
    pieces.encode_special_tokens = True  # a caption may spell out '[SEP]'
    return pieces


@TOKENIZERS.register_module()
class MiniLMTokenizer(Tokenizer):
    """Word pieces in lower case between [CLS] and [SEP]; 30522 ids.

    ``tokenize('a dog', 5) -> [[101, 1037, 3899, 102, 0]]``.

    Args:
        folder (str, optional): Where ``tokenizer.json`` is; the package's by default.

    Raises:
        ModuleNotFoundError: The package is not installed.
        FileNotFoundError: The folder lacks files of MiniLM.
    """

    def __init__(self, folder: str | None = None) -> None:
        self._file = text_folder(folder) / 'tokenizer.json'
        special = [_word_pieces(self._file).token_to_id(t) for t in ('[CLS]', '[SEP]', '[PAD]')]
        self.start_ids, self.end_id, self.padding_id = (special[0],), special[1], special[2]

    def encode(self, text: str) -> list[int]:
        cleaned = clean_text(text)[:_MAX_LETTERS]
        return _word_pieces(self._file).encode(cleaned, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        """The text of token ids without start, end and padding, in lower case."""
        return _word_pieces(self._file).decode(ids, skip_special_tokens=True)
