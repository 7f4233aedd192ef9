"""projects/naclip: evaluated by config and by plain formulas; CoDe starts from it."""

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
    """Keys attend to keys, more so to near ones; nothing is added to what they gather."""
    _, key, value = block.projections(x)
    gaussian = torch.zeros(65, 65, dtype=x.dtype)
    for i in range(64):
        for j in range(64):
            squared = (i // 8 - j // 8) ** 2 + (i % 8 - j % 8) ** 2
            gaussian[1 + i, 1 + j] = math.exp(-squared / (2 * 5.0**2))
    return block.output(block.weights_of(key, key, gaussian), value)[1:]


def test_the_config_gives_the_miou_of_the_formulas(shapes_folder, tmp_path):
    metrics = evaluate('naclip_shapes-hard', shapes_folder, tmp_path)
    expected = PlainMethod(last_block).miou(shapes_folder)
    assert metrics['mIoU'] == pytest.approx(expected, abs=0.02)  # percent, two digits


def test_code_starts_from_these_features_and_trains(shapes_folder, tmp_path):
    runner = build_training('code_naclip_shapes-hard', shapes_folder, tmp_path)
    image, _ = next(iter(pictures(shapes_folder)))
    expected = PlainMethod(last_block).upsampled(image).float()
    torch.testing.assert_close(start_features(runner, image), expected, rtol=1e-3, atol=1e-4)
    runner.train()
    losses = runner.message_hub.get_scalar('train/loss')
    assert math.isfinite(losses.current())
    assert what_learnt(runner) == {'key', 'value'}
