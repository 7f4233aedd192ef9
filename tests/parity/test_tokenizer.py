"""Golden case 6: the tokenizer's ids, exactly."""

from code_mm.tokenizers import CLIPTokenizer


def test_ids_of_every_string_at_both_context_lengths(golden):
    case = golden.case('06_tokenizer')
    tensors = golden.tensors(case)
    lengths = {'ids': 'context', 'ids_ctx61': 'context_for_prompted'}
    for name, length in lengths.items():
        ids = CLIPTokenizer().tokenize(case['strings'], case['constants'][length])
        rows = zip(case['strings'], ids, tensors[name], strict=True)
        assert not [text for text, row, expected in rows if not row.equal(expected)]
        golden.assert_close(ids, tensors[name], case, what=name)


def test_special_ids(golden):
    constants = golden.case('06_tokenizer')['constants']
    row = CLIPTokenizer().tokenize('a', 5)[0].tolist()
    assert row[0] == constants['sos']
    assert row[2] == constants['eos']
    assert row[3:] == [constants['pad']] * 2
