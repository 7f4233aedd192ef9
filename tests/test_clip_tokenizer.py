import pytest
import torch
from mmseg.utils.tokenizer import SimpleTokenizer, basic_clean, whitespace_clean

from code_mm.tokenizers import CLIPTokenizer, clean_text
from code_mm.tokenizers import clip_tokenizer as module

START, END = 49406, 49407
TOKENIZER = CLIPTokenizer()


def test_row_is_start_tokens_end_and_zeros():
    # 320, 1929, 2368 are "a", "dog", "cat" in CLIP's published vocabulary
    assert TOKENIZER.tokenize('a dog', 6).tolist() == [[START, 320, 1929, END, 0, 0]]
    assert TOKENIZER.tokenize(['a cat', 'dog', ''], 4).tolist() == [
        [START, 320, 2368, END],
        [START, 1929, END, 0],
        [START, END, 0, 0],
    ]
    assert TOKENIZER.tokenize('dog').shape == (1, 77) and TOKENIZER.tokenize([], 5).shape == (0, 5)
    assert TOKENIZER.tokenize('dog', 4).dtype == torch.int64


def test_long_texts_are_cut_before_the_end_token_or_refused():
    assert TOKENIZER.tokenize('dog ' * 30, 4).tolist() == [[START, 1929, 1929, END]]
    assert TOKENIZER.tokenize('a dog', 4, truncate=False).tolist() == [[START, 320, 1929, END]]
    with pytest.raises(ValueError, match="'a dog cat' takes 3 tokens where 2 fit"):
        TOKENIZER.tokenize(['dog', 'a dog cat'], 4, truncate=False)
    with pytest.raises(ValueError, match='expected a length >= 2'):
        TOKENIZER.tokenize('dog', 1)


def test_lengths_end_with_the_first_end_token():
    ids = TOKENIZER.tokenize(['a dog', '', 'dog <|endoftext|> cat', 'dog ' * 20], 8)
    assert TOKENIZER.text_lengths(ids).tolist() == [4, 2, 3, 8]
    assert TOKENIZER.text_lengths(ids.view(2, 2, 8)).shape == (2, 2)
    assert TOKENIZER.word_positions(ids).int().tolist() == [
        [0, 1, 1, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 1, 1, 1, 0],
    ]


def test_special_words_are_special_only_in_clip_s_spelling():
    assert TOKENIZER.encode('<|startoftext|>') == [START]
    assert START not in TOKENIZER.encode('<start_of_text>')
    assert TOKENIZER.encode('start_of_text') == TOKENIZER.encode('start _ of _ text')


def test_what_is_remembered_is_bounded_and_not_the_callers_to_change(monkeypatch):
    monkeypatch.setattr(module, '_MAX_CACHED_WORDS', 5)
    pairs = module._BytePairs()
    expected = [module._BytePairs().encode(f'wordling{i}') for i in range(9)]
    assert [pairs.encode(f'wordling{i}') for i in range(9)] == expected
    assert len(pairs.cache) <= 7 and len(pairs._word_ids) <= 5
    assert pairs.encode('<|endoftext|>') == [END]
    TOKENIZER.encode('a dog').clear()
    assert TOKENIZER.encode('a dog') == [320, 1929]


def mmsegs(text):
    """mmseg's own way, word by word, nothing remembered and nothing left out."""
    return SimpleTokenizer.encode(module._BytePairs(), text)


@pytest.mark.parametrize(
    'text',
    [
        "A dog's  toy, and 12 cats...",
        'Tom &amp; Jerry &amp;amp; &lt;3',
        'caf\u00e9 \u201cquoted\u201d \ufb01sh',
        'tabs\tand\nlines \x1b[31mred\x1b[0m',
        '  \u3000wide blank\u00a0here ',
        '\u72ac dog \U0001f600',
        'sch\u00c3\u00b6n',
    ],
)
def test_ids_aremmsegs(text):
    assert TOKENIZER.encode(text) == mmsegs(text)
    assert clean_text(text) == whitespace_clean(basic_clean(text))  # case kept


def test_junk_of_one_endless_word_is_cut_behind_the_last_position():
    letters = 'xqzjv' * 400  # short enough for mmseg's own merging in a test
    assert TOKENIZER.encode(letters * 25)[:77] == mmsegs(letters)[:77]
    longest = max(len(name.removesuffix('</w>')) for name in module._byte_pairs().encoder)
    assert 77 * longest <= module._MAX_WORD_BYTES
