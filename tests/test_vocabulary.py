import hashlib

import pytest
import torch
from tiny_model import tiny_clip

from code_mm.models.prompts import NounContextPrompt
from code_mm.vocabulary import (
    EVALUATION_TEMPLATES,
    ClassNameFile,
    embed_vocabulary,
    get_templates,
    split_names,
    vocabulary,
)

TEMPLATES = ('a photo of a {}.', 'many {}s in one {word} very long sentence', '{}')
NAMES = ['background', 'star|{a}', 'traffic light']
PHRASES = ['star', '{a}', 'traffic light']


def slow_embeddings(clip, templates, raw=False):
    """Mean over templates of unit vectors, or of vectors as they are, brought to unit length."""
    rows = []
    for phrase in PHRASES:
        embeds = []
        for template in templates:
            ids = clip.tokenizer.encode(template.replace('{}', phrase))
            embed = clip.encode_text(torch.tensor([[49406, *ids, 49407]]))[0]
            embeds.append(embed if raw else embed / embed.square().sum().sqrt())
        mean = sum(embeds) / len(embeds)
        rows.append(mean / mean.square().sum().sqrt())
    return torch.stack(rows)


# long lists are encoded in parts; TCL averages embeddings as they are
@pytest.mark.parametrize(('batch', 'raw'), [(256, False), (4, False), (256, True)])
def test_embeddings_in_templates(monkeypatch, batch, raw):
    monkeypatch.setattr(vocabulary, '_BATCH', batch)
    clip, keys = tiny_clip(), dict(mix_templates=TEMPLATES[:2], raw_template_mean=raw)
    found = embed_vocabulary(NAMES, clip, None, TEMPLATES, 0.4, **keys)
    torch.testing.assert_close(found.embeddings, slow_embeddings(clip, TEMPLATES, raw))
    torch.testing.assert_close(found.template_embeddings, slow_embeddings(clip, TEMPLATES[:2], raw))
    assert not found.embeddings.requires_grad
    assert (found.names, found.background_threshold) == (tuple(NAMES), 0.4)
    assert found.synonyms == (('star', '{a}'), ('traffic light',))


def test_embeddings_behind_learnt_contexts_which_leave_less_room():
    clip, prompt = tiny_clip(), NounContextPrompt(32, num_contexts=4)
    found = embed_vocabulary(NAMES, clip, prompt, TEMPLATES, 0.4)
    torch.testing.assert_close(found.embeddings, prompt(clip.tokenize(PHRASES, 20), clip).detach())
    assert found.template_embeddings is None and not found.embeddings.requires_grad
    fits = ' '.join(['cat'] * 18)
    embed_vocabulary(['dog', f'dog|{fits}'], clip, prompt)
    with pytest.raises(ValueError, match=r"'cat cat .*takes 19 tokens where 18 fit"):
        embed_vocabulary(['dog', f'dog|cat {fits}'], clip, prompt)
    with pytest.raises(ValueError, match=r"'a very long.* takes 23 .*use a shorter phrase"):
        embed_vocabulary(['dog', fits], clip, prompt, mix_templates=['a very long, winding {}'])


def test_synonyms_background_and_names_that_are_no_names():
    names = ['background', 'car | automobile |', 'grey sofa']
    assert split_names(names, background=True) == (('car', 'automobile'), ('grey sofa',))
    assert split_names(names, background=False)[0] == ('background',)
    for names in ([], ['cat', ''], ['cat', ' | '], ['cat', 3], 'cat'):
        with pytest.raises(ValueError, match='expected a list of non-empty class names'):
            split_names(names, background=False)
    for names in (['cat', 'dog'], ['background'], ['cat', 'background']):
        with pytest.raises(ValueError, match="expected 'background' as the first of at least two"):
            split_names(names, background=True)
    with pytest.raises(ValueError, match='every pixel would be this class'):
        split_names(['cat'], background=False)


def test_templates_by_name():
    imagenet = get_templates('imagenet')
    assert len(imagenet) == len(set(imagenet)) == 80
    assert imagenet[0] == 'a bad photo of a {}.'
    assert get_templates('custom') == EVALUATION_TEMPLATES and len(EVALUATION_TEMPLATES) == 9
    assert get_templates(['a scan of {}.', '{}']) == ('a scan of {}.', '{}')


@pytest.mark.parametrize(
    ('templates', 'message'),
    [
        ('imagnet', "'imagenet', 'vild', 'custom' or a list"),
        ([], 'at least one template'),
        (['a photo'], "but got 'a photo'"),
        (['{} and {}'], 'one "{}"'),
        (None, 'name such as'),
    ],
)
def test_templates_that_are_none(templates, message):
    with pytest.raises((ValueError, TypeError), match=message):
        get_templates(templates)


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16'])
def test_a_file_with_a_class_a_line(tmp_path, encoding):
    path = tmp_path / 'names.txt'
    text = '# of the zoo\r\ncat | kitten,\r\n\r\n # big ones\r\ngrey sofa,,\n\n'
    path.write_bytes(text.encode(encoding))
    file = ClassNameFile.read(path)
    assert (file.names, file.source) == (('cat|kitten', 'grey sofa'), str(path))
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ('content', 'match'),
    [
        (b'cat||dog\n', r"line 1 of .* is 'cat\|\|dog'"),
        (b'# nothing\n', 'but it has none'),
        (b'\xff\xfd\n', 'expected class names in UTF-8'),
        (None, 'a file with class names, but got'),
    ],
)
def test_files_that_cannot_be_read(tmp_path, content, match):
    if content:
        (tmp_path / 'names.txt').write_bytes(content)
    with pytest.raises(ValueError, match=match):
        ClassNameFile.read(tmp_path / 'names.txt')
