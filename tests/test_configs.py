"""Every config loads, builds at a tiny size and means what it says."""

import pytest
from tiny_configs import all_configs, load, shrink
from tiny_model import LOSSES, caption_samples, images

from code_mm.registry import MODELS

BASE = 'code_cc3m-cc12m.py'
TEXT = {'word_segmentation', 'region_word'}
ALL_LOSSES = {*LOSSES}
PART = 'co_decomposition'
PROMPTS = NOUNS, REGION, WORDS = 'noun_prompt.contexts', 'region_prompt.image', 'word_prompt.words'
FIXED_REGION, NO_WORDS = {'region_prompt.learnable': False}, {'word_prompt.learnable': False}
SYNC = 'region_feature', 'area', 'negative_area', 'word_segmentation'
# What each ablation changes of the co-decomposition, and what is left: losses, prompts that learn.
ABLATIONS = {
    'co_decomposition': (FIXED_REGION | NO_WORDS, ALL_LOSSES, [NOUNS]),
    'co_decomposition_word-prompt': (FIXED_REGION, ALL_LOSSES, [NOUNS, WORDS]),
    'segmenter_only': (
        FIXED_REGION
        | dict.fromkeys(['text_segmenter', 'word_prompt', *(f'losses.{name}' for name in TEXT)]),
        ALL_LOSSES - TEXT,
        [NOUNS],
    ),
    # no highlighted text is encoded
    'noun_alignment': ({'losses.region_word.text': 'nouns'}, ALL_LOSSES, [NOUNS, REGION]),
    'guide_squared_l2': ({'losses.knowledge_guided.mode': 'squared_l2'}, ALL_LOSSES, PROMPTS),
    'pseudo_label_argmax': (
        {'losses.word_segmentation.pseudo_label': 'argmax'},
        ALL_LOSSES,
        PROMPTS,
    ),
    'release_processes': ({f'losses.{name}.sync': False for name in SYNC}, ALL_LOSSES, PROMPTS),
    'one_stage': ({}, ALL_LOSSES, PROMPTS),
}
OUTSIDE = {
    'release_processes': {'model.unsynchronized': ['image_segmenter.tail.block.*']},
    'one_stage': {'custom_hooks': [dict(type='ClassNamesHook'), dict(type='RandomStateHook')]},
}


def difference(one, other, path=''):
    """Keys and values by which ``other`` differs from ``one``."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return {} if one == other else {path: other}
    found = {}
    for key in one.keys() | other.keys():
        inner = f'{path}.{key}' if path else key
        found |= difference(one.get(key), other.get(key), inner)
    return found


@pytest.mark.parametrize('name', all_configs())
def test_every_config_builds_by_overriding_sizes(name):
    """That its parts are registered and take their keys: ``test_config_parts.py``."""
    cfg = load(name)
    if 'test_dataloader' in cfg and 'small_clip' not in name:  # for mmseg's inference API
        assert cfg.test_pipeline == cfg.test_dataloader.dataset.pipeline
    model = MODELS.build(shrink(cfg).model)
    assert sum(p.numel() for p in model.parameters()) < 4e6


@pytest.mark.parametrize(
    'name', ['code_cc12m.py', BASE, 'projects/shapes_world/configs/code_photo-shards.py']
)
def test_the_method_computes_all_losses_and_learns_all_prompts(name):
    assert_learns(shrink(load(name)), ALL_LOSSES, PROMPTS)


def assert_learns(cfg, losses, prompts):
    model = MODELS.build(cfg.model)
    model.init_weights()
    values = model.loss(images(2, 32, 32), caption_samples())
    assert set(values) == {f'loss_{name}' for name in losses}
    sum(values.values()).backward()
    learning = {name for name, p in model.named_parameters() if p.grad is not None}
    assert {prompt for prompt in PROMPTS if f'{PART}.{prompt}' in learning} == {*prompts}
    words = any(name.startswith(f'{PART}.text_segmenter.') for name in learning)
    assert words == bool(losses & TEXT)


@pytest.mark.parametrize('name', [n for n in all_configs() if n.startswith('ablation/')])
def test_an_ablation_overrides_keys_and_nothing_else(name):
    kind = name.removeprefix('ablation/').removesuffix('.py')
    base, ablation = load(BASE), load(name)
    changed = difference(base._cfg_dict.to_dict(), ablation._cfg_dict.to_dict())
    keys, *learns = ABLATIONS[kind]
    expected = {f'model.{PART}.{key}': value for key, value in keys.items()}
    assert changed == expected | OUTSIDE.get(kind, {})
    assert_learns(shrink(ablation), *learns)


def test_numbers_of_the_release():
    """Thesis §3.5 and §4.1, as the authors' release resolves them."""
    cfg = load(BASE)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(5e-6)
    assert cfg.train_cfg.max_iters == 50_000 and len(LOSSES) == 9
    assert cfg.custom_hooks[0].stages[1].begin == 30_000
    assert cfg.train_dataloader.batch_size * 4 == 64
    windows = dict(mode='slide', crop_size=(448, 448), stride=(224, 224))
    assert cfg.model.test_cfg == dict(windows, window_batch_size=4)
