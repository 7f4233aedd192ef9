import pytest
import torch
from tiny_model import tiny_clip

from code_mm.models.heads import class_embeddings, embed_class_names
from code_mm.tokenizers import encode, tokenize

TEMPLATES = ('a photo of a {}.', 'many {}s in one very long sentence', '{}')
NAMES = ['star', 'traffic light']


@pytest.fixture(scope='module')
def text():
    return tiny_clip().text


def unit(vector):
    return vector / vector.square().sum().sqrt()


def test_mean_of_unit_vectors_of_all_templates(text):
    rows = []
    for name in NAMES:
        embeds = []
        for template in TEMPLATES:
            ids = [49406, *encode(template.replace('{}', name)), 49407]
            embeds.append(unit(text(torch.tensor([ids]))[0]))
        rows.append(unit(sum(embeds) / len(embeds)))
    torch.testing.assert_close(embed_class_names(text, NAMES, TEMPLATES), torch.stack(rows))


def test_long_lists_are_encoded_in_parts(text, monkeypatch):
    whole = embed_class_names(text, NAMES, TEMPLATES)
    monkeypatch.setattr(class_embeddings, '_BATCH', 4)
    torch.testing.assert_close(embed_class_names(text, NAMES, TEMPLATES), whole)


def test_padding_is_cut_behind_the_longest_text():
    ids = tokenize(['a', 'a b c'], 12)
    trimmed = class_embeddings.trim_padding(ids)
    assert trimmed.shape == (2, 5)
    assert torch.equal(trimmed, ids[:, :5])
    full = tokenize(['word ' * 20], 8)
    assert torch.equal(class_embeddings.trim_padding(full), full)


def test_no_gradient_and_names_with_braces(text):
    embed = embed_class_names(text, ['{a}', 'b'], TEMPLATES)
    assert not embed.requires_grad
    torch.testing.assert_close(embed.norm(dim=-1), torch.ones(2))
