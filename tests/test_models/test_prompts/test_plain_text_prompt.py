import pytest
import torch
from code_mm.models.segmentors.code_parts import embed_phrases
from tiny_model import SIZES, tiny_clip

from code_mm.models.prompts import PlainTextPrompt
from code_mm.tokenizers import tokenize


def test_texts_are_what_the_tower_says_of_them():
    text = tiny_clip().text
    prompt = PlainTextPrompt(width=SIZES['text_width'])
    ids = tokenize(['a star', 'a boat and a fish'], SIZES['context_length'])
    found = prompt(ids, text)
    for row, one in zip(found, ids, strict=True):
        alone = text(one[None])[0]
        torch.testing.assert_close(row, alone / alone.square().sum().sqrt())
    assert not found.requires_grad
    assert not prompt.state_dict()


def test_class_names_are_put_into_templates():
    text = tiny_clip().text
    (found,) = embed_phrases(['star'], text, PlainTextPrompt(), ['a {}.', 'two {}s.'])
    ids = tokenize(['a star.', 'two stars.'], SIZES['context_length'])
    mean = torch.nn.functional.normalize(text(ids), dim=1).mean(0)
    torch.testing.assert_close(found, mean / mean.norm())


def test_too_long_texts_are_refused():
    ids = torch.zeros(1, SIZES['context_length'] + 1, dtype=torch.long)
    with pytest.raises(ValueError, match=r'at most 24 tokens.*got 25; set noun_context_length=24'):
        PlainTextPrompt()(ids, tiny_clip().text)
