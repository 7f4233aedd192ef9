from code_mm.datasets.transforms import CaptionAsNoun, TokenizeCaption
from code_mm.tokenizers import tokenize

CAPTION = 'a dog and a cat on the sofa'


def test_the_caption_is_the_only_noun():
    results = CaptionAsNoun()(dict(caption=CAPTION, nouns=['dog', 'cat']))
    assert results == dict(caption=CAPTION, nouns=[CAPTION], selected_nouns=[CAPTION])


def test_its_token_ids_are_those_of_the_caption():
    results = CaptionAsNoun()(dict(caption=CAPTION))
    results = TokenizeCaption(20, 20, guide_templates=['{}'])(results)
    expected = tokenize([CAPTION], 20)
    assert results['noun_ids'].equal(expected)
    assert results['guide_ids'].equal(expected)
    assert results['caption_ids'].equal(expected[0])
    # every word belongs to the one "noun"
    assert results['token_labels'].tolist() == [-1, *[1] * 8, *[-1] * 11]
