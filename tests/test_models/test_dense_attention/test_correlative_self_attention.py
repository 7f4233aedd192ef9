import pytest
import torch

from code_mm.models.dense_attention import CorrelativeSelfAttention


def test_queries_and_keys_correlate_with_themselves(block, loops, tokens):
    patches, class_token, grid = tokens
    dense = CorrelativeSelfAttention()(block, patches, class_token, grid)
    for image in range(2):
        x = torch.cat([class_token[image], patches[image]])
        x = x + loops.attend(x, [(0, 0), (1, 1)])
        expected = x + loops.feed_forward(x)
        torch.testing.assert_close(dense[image], expected[1:])


def test_a_missing_class_token_is_named(block, tokens):
    with pytest.raises(ValueError, match='expected the class token beside the patch tokens'):
        CorrelativeSelfAttention()(block, tokens[0], None, tokens[2])
