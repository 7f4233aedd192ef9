import pytest
import torch
from mmengine.config import ConfigDict
from tiny_model import SIZES, code_config, images, randomise, tiny_code

from code_mm.models.heads import embed_class_names
from code_mm.registry import MODELS

FOREGROUND = ['star', 'boat|ship']
WITH_BACKGROUND = ['background', *FOREGROUND]


def maskclip(**head):
    """CLIP's towers, joined by the zero-shot head."""
    vision = dict(patch_size=8, width=48, layers=3, heads=3, embed_dim=32, image_size=32)
    text = dict(context_length=24, width=32, layers=2, heads=2, embed_dim=32)
    return randomise(
        MODELS.build(
            ConfigDict(
                type='ZeroShotSegmentor',
                backbone=dict(type='CLIPImageEncoder', **vision),
                decode_head=dict(
                    type='ZeroShotHead',
                    in_channels=32,
                    text_encoder=dict(type='code_mm.CLIPTextEncoder', **text),
                    **head,
                ),
                test_cfg=dict(mode='whole'),
            )
        )
    ).eval()


def code():
    mix = dict(knowledge_preserving=dict(weight=0.3))
    return tiny_code(decode_head=dict(code_config()['decode_head'], **mix)).eval()


@pytest.fixture(params=[maskclip, code])
def model(request):
    return request.param()


@pytest.fixture
def texts(model, monkeypatch):
    """How many texts the model's text tower has seen, batch by batch."""
    tower = model.decode_head.text_encoder or model.backbone.text
    seen, run = [], type(tower).hidden_states
    encode = type(tower).encode_words
    monkeypatch.setattr(
        type(tower), 'hidden_states', lambda s, x, *a: (seen.append(len(x)), run(s, x, *a))[1]
    )
    monkeypatch.setattr(
        type(tower), 'encode_words', lambda s, x, *a: (seen.append(len(x)), encode(s, x, *a))[1]
    )
    return seen


def test_a_class_list_is_embedded_once_for_two_thresholds(model, texts):
    model.set_background_threshold(0.4)
    model.set_class_names(WITH_BACKGROUND)
    first, count = model.decode_head.class_embeddings, len(texts)
    assert count > 0
    model.set_background_threshold(None)
    model.set_class_names(['tree', 'house'])
    assert len(texts) == 2 * count
    model.set_class_names(FOREGROUND)  # the phrases of the list before
    assert model.decode_head.class_embeddings is first
    assert (len(texts), model.num_classes) == (2 * count, 2)
    model.train()
    model.eval()  # a training step may lie between
    model.set_class_names(FOREGROUND)
    assert len(texts) == 3 * count
    torch.testing.assert_close(model.decode_head.class_embeddings, first)


def test_weights_loaded_into_a_part_are_noticed(model, texts):
    model.set_class_names(FOREGROUND)
    first, count = model.decode_head.class_embeddings, len(texts)
    tower = model.decode_head.text_encoder or model.backbone.text
    tower.load_state_dict({k: v * 1.5 for k, v in tower.state_dict().items()})
    model.set_class_names(FOREGROUND)
    assert len(texts) == 2 * count
    assert not torch.equal(model.decode_head.class_embeddings, first)


def test_learnt_contexts_are_part_of_the_weights():
    model = code()
    model.set_class_names(FOREGROUND)
    first, frozen = model.decode_head.class_embeddings, model.decode_head.frozen_class_embeddings
    model.noun_prompt.contexts.data.add_(0.5)
    model.set_class_names(FOREGROUND)
    assert not torch.allclose(model.decode_head.class_embeddings, first)
    torch.testing.assert_close(model.decode_head.frozen_class_embeddings, frozen)


def test_a_changed_threshold_is_that_of_a_model_built_with_it():
    built, changed = maskclip(background_threshold=0.7), maskclip()
    changed.load_state_dict(built.state_dict())
    built.set_class_names(WITH_BACKGROUND)
    changed.set_background_threshold(0.7)
    changed.set_class_names(WITH_BACKGROUND)
    meta = [dict(img_shape=(32, 32), ori_shape=(32, 32))]
    with torch.no_grad():
        one, other = (model.inference(images(1, 32, 32), meta) for model in (built, changed))
    assert torch.equal(one, other)
    assert one.shape == (1, 3, 32, 32)
    changed.set_background_threshold(0.5)  # the classes stay
    with torch.no_grad():
        scores = changed.inference(images(1, 32, 32), meta)
    assert torch.equal(scores[:, 1:], one[:, 1:])
    assert torch.equal(scores[:, 0], torch.full((1, 32, 32), 0.5))


def test_names_are_forgotten_where_a_background_appears_or_goes(model):
    model.set_class_names(FOREGROUND)
    model.set_background_threshold(0.4)
    head = model.decode_head
    assert (head.class_names, head.class_embeddings) == (None, None)
    with pytest.raises(ValueError, match=r"expected 'background' as the first"):
        model.set_class_names(FOREGROUND)
    for wrong in (0.0, 1.0, 40):
        with pytest.raises(ValueError, match=rf'threshold in \(0, 1\), but got {wrong}'):
            model.set_background_threshold(wrong)
    assert head.background_threshold == 0.4


def test_changed_templates_are_noticed():
    model = maskclip()
    model.set_class_names(FOREGROUND)
    head = model.decode_head
    head.templates = ['a drawing of a {}']
    model.set_class_names(FOREGROUND)
    names = ['star', 'boat', 'ship']
    expected = embed_class_names(head.text_encoder, names, ['a drawing of a {}'])
    torch.testing.assert_close(head.class_embeddings, expected)
    assert SIZES['embed_dim'] == expected.shape[1]
