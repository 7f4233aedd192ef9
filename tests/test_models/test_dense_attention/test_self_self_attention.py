import pytest
import torch

from code_mm.models.dense_attention import SelfSelfAttention


@pytest.mark.parametrize(('which', 'row'), [('query', 0), ('key', 1), ('value', 2)])
def test_one_kind_attends_to_itself_and_nothing_is_added(block, loops, tokens, which, row):
    patches, class_token, grid = tokens
    dense = SelfSelfAttention(which)(block, patches, class_token, grid)
    for image in range(2):
        x = torch.cat([class_token[image], patches[image]])
        torch.testing.assert_close(dense[image], loops.attend(x, [(row, row)])[1:])


def test_clearclip_compares_queries():
    assert SelfSelfAttention().which == 'query'


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match=r"one of \('query', 'key', 'value'\), but got 'queries'"):
        SelfSelfAttention('queries')
