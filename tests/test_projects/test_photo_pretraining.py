"""projects/photos: what pre-training minimises and goes on with, how gates are counted."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_configs import PROJECTS
from torch import nn

pytest.importorskip('transformers', reason='projects/photos needs transformers')
pytest.importorskip('efficientnet_lite_pytorch', reason='projects/photos needs the network')

from projects.photos import gates, pretrain
from projects.photos.pretraining_data import EncodedCaptions, noun_labels

WIDTH, CHANNELS, PHOTOS = 6, 8, 12


@pytest.fixture
def lessons():
    draw = torch.Generator().manual_seed(0)

    def unit(*size):
        return F.normalize(torch.randn(*size, generator=draw), dim=-1)

    names = pretrain.Names(
        texts=unit(3, 3, WIDTH),
        rows=unit(3, CHANNELS),
        row_of_name=torch.tensor([0, 1, 2]),
        overlap=torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]]) > 0,
    )
    return pretrain.Lessons(
        cells=torch.randn(PHOTOS, pretrain.GRID**2, CHANNELS, generator=draw).half(),
        captions=unit(PHOTOS, 5, WIDTH),
        names=names,
        nouns=names,
    )


def tiny_head(seed=1):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(WIDTH, 16), nn.GELU(), nn.Linear(16, CHANNELS))


def test_names_that_share_a_class_are_no_negatives(lessons):
    """Name 0 is compared with rows 0 and 2 only, since row 1 shares a class with its own."""
    known, head, scale = lessons.names, tiny_head(), torch.tensor(5.0)
    torch.manual_seed(3)
    value = pretrain.name_loss(head, known, scale)
    torch.manual_seed(3)
    names = torch.randint(0, 3, (pretrain.NAMES,)).tolist()
    templates = torch.randint(0, 3, (pretrain.NAMES,)).tolist()
    contrast, distance = [], []
    for name, template in zip(names, templates, strict=True):
        text = F.normalize(head(known.texts[template, name]), dim=0)
        cosines = (known.rows @ text).tolist()
        compared = [cosines[i] for i in {0: (0, 2), 1: (1, 2), 2: (0, 1, 2)}[name]]
        total = sum(np.exp(5 * cosine) for cosine in compared)
        contrast.append(np.log(total) - 5 * cosines[name])
        distance.append(1 - cosines[name])
    assert value.item() == pytest.approx(np.mean(contrast) / 2 + 4 * np.mean(distance), rel=1e-4)


def test_a_killed_run_ends_as_one_that_was_not(lessons, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain, 'EVERY', 2)
    whole, resumed = tiny_head(), tiny_head()
    scale = pretrain.train(whole, lessons, tmp_path / 'whole.pth', 6, 2)

    calls = iter(range(6))

    def killed(head, lessons, scale):
        if next(calls) == 5:
            raise KeyboardInterrupt
        return original(head, lessons, scale)

    original = pretrain.caption_loss
    monkeypatch.setattr(pretrain, 'caption_loss', killed)
    with pytest.raises(KeyboardInterrupt):
        pretrain.train(tiny_head(), lessons, tmp_path / 'parts.pth', 6, 2)
    monkeypatch.setattr(pretrain, 'caption_loss', original)
    assert pretrain.train(resumed, lessons, tmp_path / 'parts.pth', 6, 2) == scale
    for of_whole, of_resumed in zip(whole.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(of_resumed, of_whole, rtol=0, atol=0)


def test_joined_heads_say_the_mean_of_all():
    heads, sentences = [tiny_head(seed) for seed in range(3)], torch.randn(5, WIDTH)
    with torch.no_grad():
        heads[0][2].weight *= 9  # who speaks loudly counts no more
        said = [head(sentences) for head in heads]
        mean = sum(one / one.norm(dim=1).mean() for one in said) / 3
        torch.testing.assert_close(pretrain.joined(heads, sentences)(sentences), mean)


def test_rows_of_nouns_tell_photographs_apart():
    """Nouns that are shown together with others keep what is their own."""
    draw = torch.Generator().manual_seed(0)
    own = F.normalize(torch.randn(3, 32, generator=draw), dim=-1)
    shown = torch.rand(300, 3, generator=draw) < 0.4
    shown[:, 1] |= shown[:, 0]
    photos = shown.float() @ own + 0.1 * torch.randn(300, 32, generator=draw)
    rows = pretrain.noun_rows(F.normalize(photos, dim=-1), shown)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(3))
    assert ((rows @ own.T).argmax(dim=1) == torch.arange(3)).all()


def test_nouns_are_counted_by_caption_and_for_what_is_above():
    nouns, named = noun_labels([['Two dogs run.', 'a dog on grass'], ['grass']], fewest=1)
    assert named[:, nouns.index('animal')].tolist() == [2, 0]
    assert named[:, nouns.index('dog')].tolist() == [2, 0]
    assert named[:, nouns.index('grass')].tolist() == [1, 1]


def test_ranks_count_what_is_nearer():
    images = torch.eye(2)
    texts = torch.tensor([[[0.6, 0.8], [1.0, 0.0]], [[0.0, 1.0], [0.8, 0.6]]])
    of_captions, of_images = gates.ranks(images, texts)
    assert of_captions.tolist() == [[1, 0], [0, 1]]
    assert of_images.tolist() == [0, 0]


def test_mean_iou_weighs_photographs_by_how_often_they_are_drawn():
    confusions = np.array([[[3, 1], [0, 0]], [[0, 0], [2, 2]]])
    score = gates.mean_iou(confusions)
    assert score(np.array([0, 1])) == pytest.approx(100 * (3 / 6 + 2 / 5) / 2)
    assert score(np.array([0, 0])) == pytest.approx(75)  # the other class is not shown


def test_colours_are_scored_by_sides(monkeypatch):
    """Three black dogs of which two are told, one white dog that is not: (2/3 + 0) / 2."""
    monkeypatch.setattr(gates, 'PAIRS', (('black', 'white', 'dog'),))
    captions = [['a black dog'], ['black dogs'], ['a black dog .'], ['a white dog'], ['a dog']]
    encoded = EncodedCaptions(None, None, captions)
    images = torch.tensor([[1.0, 0], [1, 0], [0, 1], [1, 0], [1, 0]])
    answers = [*gates.colour_answers(encoded, images, lambda texts: torch.eye(2))]
    assert gates.colour_score(answers, 5)(np.arange(5)) == pytest.approx(1 / 3)


def test_the_table_is_that_of_the_results():
    measured = json.loads(gates.RESULTS.read_text())
    assert gates.table(measured) in (PROJECTS / 'photos/README.md').read_text()
    assert all(gate['low'] <= gate['value'] <= gate['high'] for gate in measured)
    assert all(gates.GOALS[gate['name']] == gate['goal'] for gate in measured)
