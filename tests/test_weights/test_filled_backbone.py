"""Random weights do not pass for trained ones."""

import copy

import pytest
import torch
from mmengine.runner import load_checkpoint
from tiny_model import images, openai_state, tiny_clip, tiny_code

NAMES = ['cat', 'tree']


@pytest.fixture
def clip_file(tmp_path):
    path = tmp_path / 'clip.pth'
    torch.save(openai_state(tiny_clip(seed=3)), path)
    return path


@pytest.fixture
def model(clip_file):
    model = tiny_code().eval()
    # as mmseg's init_model leaves it: built from the config, nothing loaded
    model.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(clip_file))
    model.backbone._is_init = False
    model.set_class_names(NAMES)
    return model


def test_a_model_that_nothing_filled_does_not_predict(model, clip_file):
    with pytest.raises(RuntimeError, match=rf'random ones; call model.init_weights.*{clip_file}'):
        model.predict(images(1, 32, 32))


def test_init_weights_fills_it(model):
    model.init_weights()
    model.set_class_names(NAMES)
    assert model.predict(images(1, 32, 32))[0].pred_sem_seg.data.shape == (1, 32, 32)


@pytest.mark.parametrize('part', ['model', 'backbone'])
def test_a_checkpoint_fills_it(model, tmp_path, part):
    part = model if part == 'model' else model.backbone
    path = tmp_path / 'checkpoint.pth'
    torch.save(dict(state_dict=part.state_dict()), path)
    load_checkpoint(part, str(path), 'cpu')
    assert len(copy.deepcopy(model).predict(images(1, 32, 32))) == 1


def test_a_checkpoint_of_other_parts_does_not(model):
    state = {f'noun_prompt.{k}': v for k, v in model.noun_prompt.state_dict().items()}
    model.load_state_dict(state, strict=False)
    with pytest.raises(RuntimeError, match='random ones'):
        model.predict(images(1, 32, 32))


def test_a_model_that_names_no_weights_may_be_random():
    model = tiny_code().eval()
    model.set_class_names(NAMES)
    assert len(model.predict(images(1, 32, 32))) == 1
