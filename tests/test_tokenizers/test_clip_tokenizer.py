import pytest
import torch
from mmseg.utils.tokenizer import SimpleTokenizer, basic_clean, whitespace_clean

from code_mm.tokenizers import clean_text, encode, end_of_text_index, token_texts, tokenize
from code_mm.tokenizers import clip_tokenizer as module

START, END = 49406, 49407


def test_row_is_start_tokens_end_and_zeros():
    # 320, 1929, 2368 are "a", "dog", "cat" in CLIP's published vocabulary
    assert tokenize('a dog', 6).tolist() == [[START, 320, 1929, END, 0, 0]]
    assert tokenize(['a cat', 'dog'], 4).tolist() == [
        [START, 320, 2368, END],
        [START, 1929, END, 0],
    ]
    assert tokenize('', 3).tolist() == [[START, END, 0]]
    assert tokenize('dog').shape == (1, 77)
    assert tokenize([], 5).shape == (0, 5)
    assert tokenize('dog', 4).dtype == torch.int64


@pytest.mark.parametrize('words', [1, 2, 3, 4, 30])
def test_truncation_keeps_the_end_token(words):
    row = tokenize('dog ' * words, 4)[0].tolist()
    kept = min(words, 2)
    assert row == ([START] + [1929] * kept + [END] + [0] * 4)[:4]


def test_context_length_must_hold_start_and_end():
    with pytest.raises(ValueError, match='expected context_length >= 2'):
        tokenize('dog', 1)


def test_end_of_text_index_is_the_first_end_token():
    ids = tokenize(['a dog', '', 'dog <|endoftext|> cat', 'dog ' * 20], 8)
    expected = [row.index(END) for row in ids.tolist()]
    assert end_of_text_index(ids).tolist() == expected == [3, 1, 2, 7]
    assert end_of_text_index(ids.view(2, 2, 8)).shape == (2, 2)


def test_special_words_are_special_only_in_clip_s_spelling():
    assert encode('<|startoftext|>') == [START]
    assert START not in encode('<start_of_text>')
    assert encode('start_of_text') == encode('start _ of _ text')


def test_token_texts_joins_to_the_clean_text():
    text = 'A Sheepdog &amp; café'
    pieces = token_texts(encode(text))
    assert ''.join(pieces) == 'a sheepdog & café '
    assert pieces[1:3] == ['sheep', 'dog ']
    assert token_texts(tokenize('dog', 4)[0])[:3] == ['<|startoftext|>', 'dog ', '<|endoftext|>']


def test_clean_text_keeps_case():
    assert clean_text('  A &amp;amp; B\n Dog ') == 'A & B Dog'


def test_cache_of_words_is_bounded(monkeypatch):
    monkeypatch.setattr(module, '_MAX_CACHED_WORDS', 5)
    tokenizer = module.ClipTokenizer()
    expected = [module.ClipTokenizer().encode(f'wordling{i}') for i in range(9)]
    assert [tokenizer.encode(f'wordling{i}') for i in range(9)] == expected
    assert len(tokenizer.cache) <= 7
    assert len(tokenizer._word_ids) <= 5
    assert tokenizer.encode('<|endoftext|>') == [END]


def _mmsegs(text):
    """mmseg's own way, word by word, nothing remembered and nothing left out."""
    tokenizer = module.ClipTokenizer()
    return SimpleTokenizer.encode(tokenizer, text)


@pytest.mark.parametrize(
    'text',
    [
        "A dog's  toy, and 12 cats...",
        'Tom &amp; Jerry &lt;3',
        'caf\u00e9 \u201cquoted\u201d \ufb01sh',
        'tabs\tand\nlines \x1b[31mred\x1b[0m',
        '  \u3000wide blank\u00a0here ',
        '\u72ac dog \U0001f600',
        'sch\u00c3\u00b6n',
        '',
    ],
)
def test_ids_are_mmsegs(text):
    assert encode(text) == _mmsegs(text)
    assert clean_text(text) == whitespace_clean(basic_clean(text))


def test_no_token_is_longer_than_assumed():
    longest = max(len(name.removesuffix('</w>')) for name in module.clip_tokenizer().encoder)
    assert 77 * longest <= module._MAX_WORD_BYTES


def test_junk_of_one_endless_word_is_cut_behind_the_last_position():
    letters = 'xqzjv' * 400  # short enough for mmseg's own merging in a test
    assert encode(letters * 25)[:77] == _mmsegs(letters)[:77]


def test_texts_that_must_not_be_cut():
    assert tokenize('a dog', 4, truncate=False).tolist() == [[START, 320, 1929, END]]
    with pytest.raises(ValueError, match="'a dog cat' takes 3 tokens where 2 fit"):
        tokenize(['dog', 'a dog cat'], 4, truncate=False)
