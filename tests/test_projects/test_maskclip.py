"""projects/maskclip: evaluated by config and by plain formulas; CoDe starts from it."""

import math

import pytest
import torch
from training_free import (
    PlainMethod,
    build_training,
    evaluate,
    pictures,
    start_features,
    what_learnt,
)


def last_block(block, x):
    """Attention weights are the identity."""
    _, _, value = block.projections(x)
    x = x + block.output(torch.eye(len(x), dtype=x.dtype).expand(len(value), -1, -1), value)
    return (x + block.feed_forward(x))[1:]


def test_the_config_gives_the_miou_of_the_formulas(shapes_folder, tmp_path):
    metrics = evaluate('maskclip_shapes-hard', shapes_folder, tmp_path)
    expected = PlainMethod(last_block).miou(shapes_folder)
    assert metrics['mIoU'] == pytest.approx(expected, abs=0.02)  # percent, two digits


def test_code_starts_from_these_features_and_trains(shapes_folder, tmp_path):
    runner = build_training('code_shapes-hard', shapes_folder, tmp_path)
    image, _ = next(iter(pictures(shapes_folder)))
    expected = PlainMethod(last_block).upsampled(image).float()
    torch.testing.assert_close(start_features(runner, image), expected, rtol=1e-3, atol=1e-4)
    runner.train()
    losses = runner.message_hub.get_scalar('train/loss')
    assert math.isfinite(losses.current())
    assert what_learnt(runner) == {'value', 'feed_forward'}
