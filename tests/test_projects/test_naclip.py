"""projects/naclip: evaluated by config and by plain formulas; CoDe starts from it."""

import math

import torch
from training_free import check_miou, check_start_of_code


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
    check_miou('naclip', shapes_folder, tmp_path, last_block)


def test_code_starts_from_these_features_and_trains(shapes_folder, tmp_path):
    learnt = {'key', 'value'}
    check_start_of_code('code_naclip_shapes-hard', shapes_folder, tmp_path, last_block, learnt)
