import pytest
import torch
from tiny_model import tiny_clip

from code_mm.models.prompts import NounContextPrompt

NOUNS = ['star', 'fire hydrant', 'x']


@pytest.fixture(scope='module')
def clip():
    return tiny_clip()


@pytest.fixture
def prompt():
    torch.manual_seed(0)
    return NounContextPrompt(32, num_contexts=4)


@pytest.mark.parametrize('count', [1, 16])
def test_contexts_start_from_a_photo_of(clip, count):
    prompt = NounContextPrompt(32, num_contexts=count)
    prompt.copy_from(clip)
    ids = clip.tokenizer.encode('a photo of' + ' x' * 20)[:count]
    assert torch.equal(prompt.contexts, clip.text.token_embedding.weight[ids])


def test_the_longest_noun_that_fits_and_one_more(clip, prompt):
    prompt(clip.tokenize('word ' * 40, 20), clip)
    match = 'at most 20 tokens .*24 less 4 learnt contexts.* but got 21; set noun_context_length=20'
    with pytest.raises(ValueError, match=match):
        prompt(clip.tokenize(NOUNS, 21), clip)
