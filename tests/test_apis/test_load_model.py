import pytest
import torch
from mmengine.config import Config
from mmengine.infer import BaseInferencer
from mmseg.apis import MMSegInferencer
from released_files import code_release
from tiny_model import SIZES, code_config, openai_state, tiny_clip, tiny_code

from code_mm.apis import CoDeInferencer
from code_mm.apis.load_model import load_config, load_zero_shot_model


def test_a_checkpoint_fills_the_model(model_files):
    config, weights = model_files
    model = load_zero_shot_model(load_config(config), weights)
    expected = torch.load(weights, weights_only=True)['state_dict']
    assert not model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_weights_of_init_cfg(tmp_path):
    clip = tiny_clip(seed=3)
    torch.save(openai_state(clip), tmp_path / 'clip.pt')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'clip.pt'))
    backbone = dict(type='CLIP', **SIZES, init_cfg=init_cfg)
    model = load_zero_shot_model(Config(dict(model=code_config(backbone=backbone))))
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, clip.state_dict()[name]), name


def test_models_with_trained_classes_are_refused_before_they_are_built(model_files):
    for kind in ('EncoderDecoder', 'Unheard', torch.nn.Linear):
        name = getattr(kind, '__name__', kind)
        with pytest.raises(TypeError, match=f'takes class names .*but got {name}; use mmseg'):
            load_zero_shot_model(Config(dict(model=dict(type=kind, a=1))), model_files[1])


def test_mistakes(model_files, tmp_path):
    config, weights = model_files
    with pytest.raises(ValueError, match='expected weights, but got none'):
        load_zero_shot_model(load_config(config))
    with pytest.raises(FileNotFoundError, match=r"tin\.pth' does not exist; did you mean .*tiny"):
        load_zero_shot_model(load_config(config), weights.with_name('tin.pth'))
    torch.save({'state_dict': {'a': torch.zeros(1)}}, tmp_path / 'other.pth')
    with pytest.raises(ValueError, match=r'other\.pth'):
        load_zero_shot_model(load_config(config), tmp_path / 'other.pth')
    with pytest.raises(ValueError, match='weights go second'):
        load_config(weights)
    with pytest.raises(FileNotFoundError, match=r"config file, but 'no\.py' does not exist"):
        load_config('no.py')
    with pytest.raises(ValueError, match='expected a model in the config'):
        load_config(dict(a=1))


@pytest.fixture
def by_name(model_files, tmp_path, monkeypatch):
    """The models 'trained', whose file is the authors' in the cache, and 'free', a CLIP by name."""
    cfg = Config.fromfile(model_files[0])
    cfg.test_dataloader = dict(dataset=dict(pipeline=cfg.test_pipeline))
    cfg.visualizer = dict(type='SegLocalVisualizer')
    cfg.dump(tmp_path / 'trained.py')
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='clip')
    cfg.dump(tmp_path / 'free.py')
    cache = tmp_path / 'hub/checkpoints'
    cache.mkdir(parents=True)
    torch.save(code_release(tiny_code()), cache / 'released.pth')
    torch.save(openai_state(tiny_clip(seed=3)), cache / 'clip.pt')
    entries = [
        dict(Name='trained', Config=str(tmp_path / 'trained.py'), Weights='released.pth'),
        dict(Name='free', Config=str(tmp_path / 'free.py')),
        dict(Name='clip', Weights='clip.pt'),
    ]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.hub, '_hub_dir', str(cache.parent))
    monkeypatch.setattr(BaseInferencer, '_get_models_from_metafile', lambda folder: entries)


def test_models_by_name(by_name, photos):
    expected = tiny_code().state_dict()
    ours = CoDeInferencer('trained', device='cpu', show_progress=False)
    theirs = MMSegInferencer('trained', device='cpu')
    for model in (ours.model, theirs.model):
        for name, value in model.state_dict().items():
            assert torch.equal(value, expected[name]), name
    theirs.model.set_class_names(['cat', 'grey sofa'])
    image = str(photos / 'a.png')
    found = ours(image, classes='cat, grey sofa', background=False)['predictions']
    assert (theirs(image)['predictions'] == found).all()
    free = CoDeInferencer('free', device='cpu').model.backbone.state_dict()
    for name, value in tiny_clip(seed=3).state_dict().items():
        assert torch.equal(free[name], value), name
    assert CoDeInferencer('free', 'trained', 'cpu').model.cfg.model.get('init_cfg') is None
    with pytest.raises(
        FileNotFoundError, match="'fre' does not exist; nor is it one of trained, fr"
    ):
        CoDeInferencer('fre')
