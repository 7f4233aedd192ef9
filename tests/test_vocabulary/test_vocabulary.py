from dataclasses import FrozenInstanceError

import pytest
import torch
from tiny_model import tiny_clip

from code_mm.models.prompts import NounContextPrompt
from code_mm.vocabulary import embed_vocabulary, split_names, vocabulary

TEMPLATES = ('a photo of a {}.', 'many {}s in one {word} very long sentence', '{}')
NAMES = ['background', 'star|{a}', 'traffic light']
PHRASES = ['star', '{a}', 'traffic light']


@pytest.fixture(scope='module')
def clip():
    return tiny_clip()


def unit(vector):
    return vector / vector.square().sum().sqrt()


def slow_embeddings(clip, templates, each=unit):
    """Mean over templates of unit vectors, brought to unit length again."""
    rows = []
    for phrase in PHRASES:
        embeds = []
        for template in templates:
            ids = clip.tokenizer.encode(template.replace('{}', phrase))
            embeds.append(each(clip.encode_text(torch.tensor([[49406, *ids, 49407]]))[0]))
        rows.append(unit(sum(embeds) / len(embeds)))
    return torch.stack(rows)


@pytest.mark.parametrize('batch', [256, 4])  # long lists are encoded in parts
def test_embeddings_in_templates(clip, monkeypatch, batch):
    monkeypatch.setattr(vocabulary, '_BATCH', batch)
    found = embed_vocabulary(NAMES, clip, None, TEMPLATES, 0.4, mix_templates=('a {}',))
    torch.testing.assert_close(found.embeddings, slow_embeddings(clip, TEMPLATES))
    torch.testing.assert_close(found.template_embeddings, slow_embeddings(clip, ['a {}']))
    assert not found.embeddings.requires_grad
    assert (found.names, found.background_threshold) == (tuple(NAMES), 0.4)
    assert found.synonyms == (('star', '{a}'), ('traffic light',))
    with pytest.raises(FrozenInstanceError):
        found.names = ()


def test_templates_of_tcl_are_averaged_as_they_are(clip):
    keys = dict(mix_templates=TEMPLATES[:2], raw_template_mean=True)
    found = embed_vocabulary(NAMES, clip, None, TEMPLATES, 0.4, **keys)
    expected = slow_embeddings(clip, TEMPLATES, each=lambda vector: vector)
    torch.testing.assert_close(found.embeddings, expected)
    assert (expected - slow_embeddings(clip, TEMPLATES)).abs().max() > 1e-4
    mix = slow_embeddings(clip, TEMPLATES[:2], each=lambda vector: vector)
    torch.testing.assert_close(found.template_embeddings, mix)


def test_embeddings_behind_learnt_contexts(clip):
    prompt = NounContextPrompt(32, num_contexts=4)
    found = embed_vocabulary(NAMES, clip, prompt, TEMPLATES, 0.4)
    torch.testing.assert_close(found.embeddings, prompt(clip.tokenize(PHRASES, 20), clip).detach())
    assert found.template_embeddings is None and not found.embeddings.requires_grad


def test_names_fill_the_context_and_no_more(clip):
    prompt, fits = NounContextPrompt(32, num_contexts=4), ' '.join(['cat'] * 18)
    embed_vocabulary(['dog', f'dog|{fits}'], clip, prompt)
    with pytest.raises(ValueError, match=r"'cat cat .*takes 19 tokens where 18 fit"):
        embed_vocabulary(['dog', f'dog|cat {fits}'], clip, prompt)
    with pytest.raises(ValueError, match=r"'a very long.* takes 23 .*use a shorter phrase"):
        embed_vocabulary(['dog', fits], clip, prompt, mix_templates=['a very long, winding {}'])


def test_synonyms_and_background():
    names = ['background', 'car | automobile |', 'grey sofa']
    assert split_names(names, background=True) == (('car', 'automobile'), ('grey sofa',))
    assert split_names(names, background=False)[0] == ('background',)


@pytest.mark.parametrize('names', [[], ['cat', ''], ['cat', ' | '], ['cat', 3], 'cat'])
def test_names_that_are_no_names(names):
    with pytest.raises(ValueError, match='expected a list of non-empty class names'):
        split_names(names, background=False)


@pytest.mark.parametrize('names', [['cat', 'dog'], ['background'], ['cat', 'background']])
def test_a_background_plane_needs_its_name_and_a_class(names):
    with pytest.raises(ValueError, match="expected 'background' as the first of at least two"):
        split_names(names, background=True)


def test_one_class_alone_would_be_everywhere():
    with pytest.raises(ValueError, match='every pixel would be this class'):
        split_names(['cat'], background=False)
