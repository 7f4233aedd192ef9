import math

import pytest
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample

from projects.shapes_world.clip_pretrainer import (
    CLIPPretrainer,
    _encode_window,
    multi_positive_info_nce,
    text_positives,
)
from code_mm.registry import MODELS
from code_mm.tokenizers import tokenize

CLIP = dict(
    type='CLIP',
    embed_dim=16,
    image_size=32,
    patch_size=8,
    vision_width=32,
    vision_layers=2,
    context_length=12,
    text_width=16,
    text_layers=1,
    frozen=False,
)
WORDS = ['a star heart boat .']


def _model(**kwargs):
    torch.manual_seed(0)
    return CLIPPretrainer(clip=CLIP, **kwargs)


def _samples(texts, **meta):
    samples = []
    for ids in tokenize(texts, 12):
        sample = SegDataSample(metainfo=meta)
        sample.caption_ids = ids
        samples.append(sample)
    return samples


def test_equal_texts_count_once_and_fit_every_image_that_has_them():
    star, boat, fish = [1, 2], [3, 4], [3, 9]
    texts, fits = text_positives(torch.tensor([[star, boat], [boat, boat], [fish, star]]))
    assert texts.tolist() == [star, boat, fish]
    assert fits.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


def test_loss_against_a_slow_loop():
    torch.manual_seed(0)
    image, text = (F.normalize(torch.randn(3, 8), dim=1) for _ in range(2))
    fits = torch.tensor([[1.0, 1, 0], [0, 1, 0], [1, 0, 1]])
    cosine = 5.0 * image @ text.T
    expected = 0.0
    for i in range(3):
        for j in range(3):
            to_text = cosine[i, j] - cosine[i].exp().sum().log()
            to_image = cosine[i, j] - cosine[:, j].exp().sum().log()
            expected -= fits[i, j] / fits[i].sum() * to_text / 3
            expected -= fits[i, j] / fits[:, j].sum() * to_image / 3
    loss = multi_positive_info_nce(image, text, fits, torch.tensor(5.0))
    assert torch.isclose(loss, expected / 2)


def test_loss_of_different_captions_is_ordinary_info_nce():
    from code_mm.models.losses import info_nce

    torch.manual_seed(0)
    image, text = (F.normalize(torch.randn(4, 8), dim=1) for _ in range(2))
    ours = multi_positive_info_nce(image, text, torch.eye(4), torch.tensor(7.0))
    torch.testing.assert_close(ours, info_nce(image, text, 7.0))


def test_captions_and_positive_ids_are_both_understood():
    model, image = _model(), torch.randn(2, 3, 32, 32)
    captions = _samples(['star', 'boat'])
    positives = _samples(['star', 'boat'])
    for sample in positives:
        sample.positive_ids = sample.caption_ids.repeat(2, 1)
    torch.testing.assert_close(
        model(image, captions, mode='loss'), model(image, positives, mode='loss')
    )


def test_a_window_of_the_whole_grid_is_the_ordinary_encoder():
    model = _model()
    image = torch.randn(2, 3, 32, 32)
    whole = F.normalize(model.clip.encode_image(image), dim=1)
    torch.testing.assert_close(model.embed_images(image), whole)
    windowed = F.normalize(_encode_window(model.clip.visual, image, (0, 0)), dim=1)
    torch.testing.assert_close(windowed, whole)


def test_a_window_takes_its_own_positions():
    model = _model()
    image = torch.randn(2, 3, 16, 24)
    model.embed_images(image, (2, 1)).sum().backward()
    moved = model.clip.visual.positional_embedding.grad.abs().sum(1) > 0
    grid = torch.zeros(4, 4, dtype=torch.bool)
    grid[2:4, 1:4] = True
    assert torch.equal(moved, torch.cat([torch.tensor([True]), grid.flatten()]))
    with pytest.raises(ValueError, match=r'2 x 3 patches inside .* 4 x 4, but got it at \(3, 0\)'):
        model.embed_images(image, (3, 0))


def test_a_small_vocabulary_gives_the_embeddings_of_the_full_one():
    full, small = _model(), _model(vocabulary=WORDS)
    assert len(small.clip.text.token_embedding.weight) == len(small.token_ids) == 8
    state = full.clip.state_dict()
    rows = state['text.token_embedding.weight'][small.token_ids]
    small.clip.load_state_dict({**state, 'text.token_embedding.weight': rows})
    ids = tokenize(['a star.', 'a heart', 'boat'], 12)
    torch.testing.assert_close(small.embed_texts(ids), full.embed_texts(ids))
    fish = int(tokenize('fish')[0, 1])
    with pytest.raises(ValueError, match=f'got token {fish}; add its word to vocabulary'):
        small.embed_texts(tokenize(['a fish'], 12))


def test_a_template_set_joins_the_vocabulary():
    model = _model(vocabulary=WORDS, vocabulary_templates='imagenet')
    assert set(tokenize('itap of a star.')[0].tolist()) <= set(model.token_ids.tolist())


def test_padding_beyond_the_longest_text_costs_nothing():
    model = _model()
    short, long = tokenize(['a star', 'a boat.'], 6), tokenize(['a star', 'a boat.'], 12)
    torch.testing.assert_close(model.embed_texts(short), model.embed_texts(long))


def test_training_learns_a_toy_pairing_and_predict_ranks_it():
    model = _model(vocabulary=WORDS, nouns=['star', 'heart'], template='{}')
    image = torch.cat([torch.full((1, 3, 32, 32), -1.0), torch.full((1, 3, 32, 32), 1.0)])
    image = image[[0, 1, 0]]
    samples = _samples(['star', 'heart', 'star'])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    first = None
    for _ in range(40):
        losses = model(image, samples, mode='loss')
        first = first or losses['loss_contrastive'].item()
        optimizer.zero_grad()
        losses['loss_contrastive'].backward()
        optimizer.step()
    # 'star' fits two images: the entropy of its target is the floor
    floor = math.log(2) / 4
    assert losses['loss_contrastive'].item() < floor + 0.2 * (first - floor)
    assert losses['top1'] == 1
    scores = torch.stack([s.noun_scores for s in model(image, samples, mode='predict')])
    assert scores.argmax(1).tolist() == [0, 1, 0]
    with pytest.raises(RuntimeError, match="mode 'loss' or 'predict', but got 'tensor'"):
        model(image, samples, mode='tensor')


def test_a_frozen_clip_is_refused():
    with pytest.raises(ValueError, match=r'clip\.frozen=False'):
        MODELS.build(dict(type='CLIPPretrainer', clip={**CLIP, 'frozen': True}))


def _gradients(state, image, texts):
    """Loss and gradients of this process' share of a batch, averaged as DDP does."""
    import torch.distributed as dist

    model = _model(vocabulary=WORDS)
    model.load_state_dict(state)
    rank, size = dist.get_rank(), dist.get_world_size()
    mine = slice(rank, None, size)
    loss = model(image[mine], _samples(texts[mine]), mode='loss')['loss_contrastive']
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= size
    return loss.item(), {n: p.grad for n, p in model.named_parameters()}


def test_two_processes_train_as_one(run_in_two_processes):
    torch.manual_seed(1)
    image, texts = torch.randn(4, 3, 32, 32), ['star', 'a boat.', 'a heart', 'star']
    model = _model(vocabulary=WORDS)
    loss = model(image, _samples(texts), mode='loss')['loss_contrastive']
    loss.backward()
    results = run_in_two_processes(_gradients, model.state_dict(), image, texts)
    assert math.isclose(sum(r[0] for r in results) / 2, loss.item(), rel_tol=1e-5)
    for _, gradients in results:
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6)
