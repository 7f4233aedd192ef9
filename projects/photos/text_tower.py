"""MiniLM (Wang et al., NeurIPS 2020), fine-tuned for sentences (all-MiniLM-L6-v2)."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from code_mm.weights import read_tensors

from .packages import require_package, text_folder


class TextTower(nn.Module):
    """BERT's encoder as ``transformers`` has it; parameters are named as there, under ``model``.

    Args:
        folder (str | Path, optional): Where ``config.json`` and ``model.safetensors`` are; the
            package's by default.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        super().__init__()
        transformers = require_package('transformers')
        self.folder = text_folder(folder)
        config = transformers.BertConfig.from_json_file(str(self.folder / 'config.json'))
        self.model = transformers.BertModel(config, add_pooling_layer=False)
        self.width, self.heads = config.hidden_size, config.num_attention_heads

    def load(self) -> None:
        """Fill the encoder from its folder.

        Raises:
            ValueError: The file is damaged or of another model.
        """
        path = self.folder / 'model.safetensors'
        state = read_tensors(path)
        own = self.model.state_dict()
        try:
            self.model.load_state_dict({name: state[name] for name in own if name in state})
        except RuntimeError as error:
            raise ValueError(
                f'expected the weights of a BERT as {self.folder / "config.json"} describes it, '
                f'but {path} does not fit: {error}'
            ) from error

    def embed_tokens(self, ids: Tensor) -> Tensor:
        """Word embeddings [n, l, w] of token ids [n, l], before positions and norm."""
        return self.model.embeddings.word_embeddings(ids)

    def hidden_states(self, words: Tensor, lengths: Tensor) -> Tensor:
        """Last hidden states [n, l, w] of word embeddings [n, l, w]; lengths [n]."""
        attended = _within(words, lengths).long()
        return self.model(inputs_embeds=words, attention_mask=attended).last_hidden_state

    def sentences(self, words: Tensor, lengths: Tensor) -> Tensor:
        """Mean hidden state of each text, start and end included, at unit length [n, w]."""
        within = _within(words, lengths)[..., None]
        total = self.hidden_states(words, lengths).masked_fill(~within, 0).sum(dim=1)
        return F.normalize(total / lengths[:, None], dim=-1)


def _within(words: Tensor, lengths: Tensor) -> Tensor:
    """Which positions belong to a text: bool [n, l]."""
    return torch.arange(words.shape[1], device=words.device) < lengths[:, None]
