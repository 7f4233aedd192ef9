import torch
import torch.nn.functional as F

from code_mm.models.backbones.clip import SelfOnlyAttention


def test_every_patch_gets_its_own_value(block, loops, tokens):
    patches, class_token, grid = tokens
    dense = SelfOnlyAttention()(block, patches, class_token, grid)
    for image, tokens_of_image in enumerate(patches):
        for i, x in enumerate(tokens_of_image):
            # alone in its sequence, a token has nothing but itself to attend to
            attended = x + loops.attend(x[None], [(0, 1)])[0]
            expected = attended + loops.feed_forward(attended)
            torch.testing.assert_close(dense[image, i], expected)


def test_the_class_token_is_not_needed(block, tokens):
    patches, _, grid = tokens
    reading = SelfOnlyAttention()
    assert torch.equal(reading(block, patches, None, grid), reading(block, *tokens))


def test_bit_for_bit_the_value_path(block, tokens):
    """What checkpoints were trained and parity was measured with, to the last bit."""
    patches = tokens[0].float()
    block = block.float()
    weight, bias = block.attn.in_proj_weight[24:], block.attn.in_proj_bias[24:]
    x = patches + block.attn.out_proj(F.linear(block.ln_1(patches), weight, bias))
    expected = x + block.mlp(block.ln_2(x))
    assert torch.equal(SelfOnlyAttention()(block, patches, None, (2, 3)), expected)
