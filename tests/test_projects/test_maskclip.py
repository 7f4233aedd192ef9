"""projects/maskclip: evaluated by config and by plain formulas; CoDe starts from it."""

import re
import sys

import pytest
import torch
from mmengine.runner import Runner
from tiny_configs import CONFIGS
from training_free import PlainMethod, build_config, check_miou, check_start_of_code

from code_mm.registry import MODELS

README = CONFIGS.parent / 'projects' / 'maskclip' / 'README.md'


def last_block(block, x):
    """Attention weights are the identity."""
    _, _, value = block.projections(x)
    x = x + block.output(torch.eye(len(x), dtype=x.dtype).expand(len(value), -1, -1), value)
    return (x + block.feed_forward(x))[1:]


def test_the_config_gives_the_miou_of_the_formulas(shapes_folder, tmp_path):
    check_miou('maskclip', shapes_folder, tmp_path, last_block)


def test_code_starts_from_these_features_and_trains(shapes_folder, tmp_path):
    learnt = {'value', 'feed_forward'}
    check_start_of_code('code_shapes-hard', shapes_folder, tmp_path, last_block, learnt)


@pytest.fixture
def further_method(tmp_path, monkeypatch):
    """The config of the page's own method, its class in a file of the user's."""
    part, keys = re.findall(r'```python\n(.*?)```', README.read_text(), re.DOTALL)
    (tmp_path / 'my_reading.py').write_text(part)
    base = CONFIGS / 'shapes' / 'maskclip_shapes-hard.py'
    (tmp_path / 'mine.py').write_text(f'_base_ = {str(base)!r}\n{keys}')
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / 'mine.py'
    sys.modules.pop('my_reading')
    for registry in (MODELS, MODELS.parent):
        registry.module_dict.pop('MeanAttention')


def test_a_further_method_needs_a_file_and_a_config(further_method, shapes_folder, tmp_path):
    runner = Runner.from_cfg(build_config(further_method, shapes_folder, tmp_path))
    runner.model.init_weights()
    plain = PlainMethod(lambda _, x: x[1:] + x[1:].mean(dim=0))
    assert runner.test()['mIoU'] == pytest.approx(plain.miou(shapes_folder), abs=0.02)
