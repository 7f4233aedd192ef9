import pytest
import torch
from code_mm.models.heads.embedding_files import EmbeddingFiles
from tiny_model import SIZES, code_config, images, tiny_clip, tiny_code
from torch import nn

from code_mm.registry import MODELS

KEY = (('cat', 'dog'), ('a {}.',), ())


class Counted:
    def __init__(self, *tensors):
        self.calls, self.tensors = 0, tensors

    def __call__(self):
        self.calls += 1
        return self.tensors


def embed(*tensors):
    return Counted(*(tensors or (torch.rand(2, 3), None)))


@pytest.fixture
def tower():
    return nn.Linear(3, 2)


def test_another_process_finds_what_was_made(tmp_path, tower):
    made = embed(torch.rand(2, 3), torch.rand(2, 4))
    first = EmbeddingFiles(tmp_path / 'new').get(KEY, [tower], made)
    again = EmbeddingFiles(tmp_path / 'new').get(KEY, [tower], made)
    assert made.calls == 1
    for ours, theirs in zip(first, again, strict=True):
        assert torch.equal(ours, theirs)
    without = embed()
    for _ in range(2):
        assert EmbeddingFiles(tmp_path).get(KEY, [tower], without)[1] is None
    assert without.calls == 1


@pytest.mark.parametrize(
    'change',
    [
        lambda key, tower: ((('cat', 'cow'), *key[1:]), tower),
        lambda key, tower: ((key[0], ('the {}.',), ()), tower),
        lambda key, tower: (key, nn.Linear(3, 2)),
        lambda key, tower: (key, _with(tower, heads=2)),
    ],
)
def test_other_words_weights_or_settings_are_another_file(tmp_path, tower, change):
    made = embed()
    EmbeddingFiles(tmp_path).get(KEY, [tower], made)
    key, other = change(KEY, tower)
    EmbeddingFiles(tmp_path).get(key, [other], made)
    assert made.calls == 2
    assert len(list(tmp_path.iterdir())) == 2


def _with(module, **attributes):
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


def test_mixed_precision_is_another_file(tmp_path, tower):
    made = embed()
    EmbeddingFiles(tmp_path).get(KEY, [tower], made)
    with torch.autocast('cpu', torch.bfloat16):
        EmbeddingFiles(tmp_path).get(KEY, [tower], made)
    assert made.calls == 2


def test_a_damaged_file_is_made_anew(tmp_path, tower):
    made = embed()
    expected = EmbeddingFiles(tmp_path).get(KEY, [tower], made)[0]
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:20])
    assert torch.equal(EmbeddingFiles(tmp_path).get(KEY, [tower], made)[0], expected)
    assert made.calls == 2
    EmbeddingFiles(tmp_path).get(KEY, [tower], made)
    assert made.calls == 2


def test_a_folder_that_cannot_be_written_ends_nothing(tmp_path, tower):
    (tmp_path / 'file').write_text('in the way')
    made = embed()
    found = EmbeddingFiles(tmp_path / 'file').get(KEY, [tower], made)
    assert found[0] is made.tensors[0]


@pytest.mark.parametrize('mix', [None, dict(weight=0.3)])
def test_a_segmentor_predicts_the_same_from_the_files(tmp_path, mix, monkeypatch):
    head = dict(type='ZeroShotHead', embedding_dir=str(tmp_path), knowledge_preserving=mix)
    plain = dict(type='ZeroShotHead', knowledge_preserving=mix)
    scores = []
    for config in (plain, head, head):
        model = tiny_code(decode_head=config).eval()
        if len(scores) == 2:  # nothing may be embedded again
            monkeypatch.setattr(type(model.backbone.text), 'forward', None)
            monkeypatch.setattr(type(model.backbone.text), 'encode_words', None)
            monkeypatch.setattr(type(model.backbone.text), 'encode_continuations', None)
        model.set_class_names(['star', 'boat|ship'])
        with torch.no_grad():
            scores.append(model.predict(images(1, 32, 32))[0].seg_logits.data)
    assert len(list(tmp_path.glob('*.safetensors'))) == 1
    for others in scores[1:]:
        torch.testing.assert_close(others, scores[0])


def test_a_training_run_keeps_no_files(tmp_path):
    model = tiny_code(decode_head=dict(type='ZeroShotHead', embedding_dir=str(tmp_path)))
    model.train().eval()  # as before and after a validation
    model.set_class_names(['star', 'boat'])
    assert not list(tmp_path.iterdir())


def test_heads_with_a_text_tower_of_their_own(tmp_path):
    clip = tiny_clip()
    text = {k.removeprefix('text_'): v for k, v in SIZES.items() if k.startswith('text_')}
    tower = dict(type='code_mm.CLIPTextEncoder', embed_dim=32, context_length=24, **text)
    config = dict(
        type='ZeroShotHead', in_channels=32, text_encoder=tower, embedding_dir=str(tmp_path)
    )
    found = []
    for _ in range(2):
        head = MODELS.build(config)
        head.text_encoder.load_state_dict(clip.text.state_dict())
        head.set_class_names(['star', 'boat'])
        found.append(head.class_embeddings)
    assert torch.equal(*found)
    assert len(list(tmp_path.iterdir())) == 1
    assert code_config().decode_head.get('embedding_dir') is None  # off unless asked for
