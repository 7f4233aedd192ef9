"""Every part of a config is compared with what takes it: before the first step, in milliseconds."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from tiny_configs import all_configs, load
from torch import nn

from code_mm.apis.load_model import load_zero_shot_model
from code_mm.datasets.captions.caption_source import CaptionSource
from code_mm.datasets.captions.sample import decode_sample
from code_mm.engine import config_parts
from code_mm.engine.config_check import check_config, check_options, read_config
from code_mm.engine.config_parts import check_custom_keys, check_parts
from code_mm.models.prompts import NounContextPrompt
from code_mm.structures.unusable_sample import UnusableSample

TENSORBOARD = "'TensorbordVisBackend'; did you mean 'TensorboardVisBackend'"
MISTAKES = [
    ('optim_wrapper.paramwise_cfg.flat_decay_mul', 0.0, "did you mean 'flat_decay_mult'"),
    ('optim_wrapper.clip_grad.max_nor', 1.0, "did you mean 'max_norm'"),
    ('optim_wrapper.clip_gra', {}, "optim_wrapper .AmpOptimWrapper.*did you mean 'clip_grad'"),
    ('optim_wrapper.optimizer.type', 'AdmaW', "got 'AdmaW'; did you mean 'AdamW'"),
    ('optim_wrapper.optimizer.betas', 0.9, r'optimizer\.betas as .*[Tt]uple.*, but got 0\.9'),
    ('auto_scale_lr.enabl', True, "auto_scale_lr, but got 'enabl'; did you mean 'enable'"),
    ('randomness.sed', 1, "did you mean 'seed'"),
    ('train_cfg.max_iter', 5, "did you mean 'max_iters'"),
    ('param_scheduler.0.start_facto', 1, "did you mean 'start_factor'"),
    ('default_hooks.checkpoint.max_keep_ckpt', 1, "did you mean 'max_keep_ckpts'"),
    ('custom_hooks.1.class_name', ['a'], "did you mean 'class_names'"),
    ('visualizer.vis_backends.0.type', 'TensorbordVisBackend', TENSORBOARD),
    ('vis_backends.0.type', 'TensorbordVisBackend', TENSORBOARD),
    ('model.train_cfg.x', 1, r"model\.train_cfg, but got 'x'; valid: \[\]"),
    ('model.co_decomposition.noun_prompt.num_context', 1, "did you mean 'num_contexts'"),
    ('train_dataloader.batch_siz', 3, "did you mean 'batch_size'"),
    ('train_dataloader.dataset.shards', 5, r'dataset\.shards as str . .*Sequence.str., but got 5'),
    ('train_dataloader.dataset.num_samples', -5, r"got 'num_samples'; valid: .*'nouns_field'"),
    ('train_dataloader.dataset.pipeline.3.scale', 0.9, r'pipeline\.3\.scale as tuple.*got 0\.9'),
    ('val_dataloader.dataset.data_prefix.img_pat', 'a', "data_prefix.*did you mean 'img_path'"),
    ('env_cfg.mp_cfg.mp_start_metho', 'fork', "did you mean 'mp_start_method'"),
    ('val_evaluator.iou_metric', ['mIoU'], "did you mean 'iou_metrics'"),
]


@pytest.mark.parametrize(('key', 'value', 'told'), MISTAKES, ids=[key for key, *_ in MISTAKES])
def test_a_mistake_is_named_with_its_place_and_cure(key, value, told):
    cfg = load('code_cc12m.py')
    cfg.merge_from_dict({key: value})
    with pytest.raises(ValueError, match=told):
        check_parts(cfg)


@pytest.mark.parametrize('name', all_configs())
def test_our_own_configs_pass(name):
    cfg = load(name)
    check_config(cfg)
    check_parts(cfg)


def test_what_is_not_imported_is_named():
    with pytest.raises(ImportError, match='code_m'):
        check_parts(Config(dict(custom_imports=dict(imports=['code_m']))))


def test_parts_that_take_anything_and_those_of_other_packages_are_left_alone():
    @HOOKS.register_module(force=True)
    class Greedy(Hook):
        def __init__(self, **kwargs):
            self.kwargs = kwargs

    hooks = [dict(type='Greedy', x=1), dict(type='mmdet.Greedi'), dict(type='Gredy', _scope_='a')]
    check_parts(Config(dict(custom_hooks=hooks, model=dict(type='mmpretrain.ViT', x=1))))


@pytest.mark.parametrize(
    ('key', 'setting', 'told'),
    [
        ('gait', 'lr_mult', "got 'gait'; did you mean 'gate'"),
        ('gat', 'lr_mult', "got 'gat'; did you mean 'gate'"),  # is in 'gate', and would match it
        ('gate', 'lr_mul', "custom_keys.gate, but got 'lr_mul'; did you mean 'lr_mult'"),
    ],
)
def test_misspelt_custom_keys_are_named(key, setting, told):
    with pytest.raises(ValueError, match=told):
        use_custom_key(key, setting)


def use_custom_key(key, setting='lr_mult'):
    keys = dict(paramwise_cfg=dict(custom_keys={key: {setting: 2.0}}))
    cfg = Config(dict(optim_wrapper=dict(keys, optimizer=dict(type='SGD', lr=0.1))))
    check_custom_keys(cfg, nn.ModuleDict(dict(the_gate=nn.PReLU(), norm1=nn.LayerNorm(2))))


def test_custom_keys_of_other_models_do_nothing_and_are_told():
    """MMSegmentation's SegFormer has settings for a pos_block that it lacks."""
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config_parts, 'print_log', lambda message, **_: told.append(message))
        for key in ('gate', 'the_gate.weight', 'norm', 'pos_block'):
            use_custom_key(key)
    assert told == [
        'optim_wrapper.paramwise_cfg.custom_keys.pos_block does nothing: no parameter has '
        "'pos_block' in its name"
    ]


@pytest.mark.skipif(find_spec('mmdet') is not None, reason='MMDetection is installed')
def test_a_missing_package_is_named_as_missing(tmp_path):
    (tmp_path / 'own.py').write_text("custom_imports = dict(imports=['mmdet.models'])")
    with pytest.raises(ModuleNotFoundError, match=r"own\.py names .* none called 'mmdet'; install"):
        read_config(tmp_path / 'own.py')
    with pytest.raises(ValueError, match=r'\(mmdet\), on which model .Mask2FormerHead. is built'):
        check_parts(Config(dict(model=dict(type='Mask2FormerHead', in_channels=[1]))))


def test_variables_that_are_used_up_are_not_set(tmp_path):
    with pytest.raises(ValueError, match=r"got 'max_iters'.*did you mean train_cfg\.max_iters"):
        check_options(load('code_cc12m.py'), {'max_iters': 5})
    base = Path(load('code_cc12m.py').filename)
    (tmp_path / 'own.py').write_text(f"_base_ = '{base}'\nmax_iters = 5\n")
    with pytest.raises(ValueError, match=r"got 'max_iters'.*did you mean train_cfg\.max_iters"):
        check_config(read_config(tmp_path / 'own.py'))
    used = f"_base_ = '{base}'\nmax_iters = 5\ntrain_cfg = dict(max_iters=max_iters)\n"
    (tmp_path / 'own.py').write_text(used)
    check_config(read_config(tmp_path / 'own.py'))
    whole = load('code_cc12m.py')
    whole.train_cfg.max_iters = 5
    whole.dump(tmp_path / 'dumped.py')
    check_config(read_config(tmp_path / 'dumped.py'))


def test_a_config_that_is_no_python_is_named_with_its_line(tmp_path):
    (tmp_path / 'bad.py').write_text("model = dict(type='A'\nx = 3\n")
    with pytest.raises(ValueError, match=r"line 1 of .*bad\.py.*\(model = dict\(type='A'\)"):
        read_config(tmp_path / 'bad.py')


@pytest.mark.parametrize(
    ('make', 'told'),
    [
        (lambda: NounContextPrompt(8, num_contexts=0), 'num_contexts >= 1, but got 0'),
        (lambda: CaptionSource('a.tar', num_samples=-5), 'num_samples >= 1, or None, but got -5'),
        (lambda: load_zero_shot_model(Config(), device='cuda:77'), "device.*but got 'cuda:77'"),
        (lambda: load_zero_shot_model(Config(), device='gpu'), "device.*but got 'gpu'"),
    ],
)
def test_a_value_out_of_range_names_its_option(make, told):
    with pytest.raises(ValueError, match=told):
        make()


def test_a_named_nouns_field_must_be_in_the_samples():
    def decode(field):
        return decode_sample('a', 'b', 'c.jpg', b'a cat', b'{"nouns": ["cat"]}', None, field)

    assert decode('nouns')['nouns'] == ['cat']
    with pytest.raises(UnusableSample, match=r"no nouns_field 'noun' in \['nouns'\]"):
        decode('noun')
