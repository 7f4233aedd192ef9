"""Pre-training of the small CLIP: batches, loss, optimizer, metric, a few iterations, export."""

import copy
import math
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from mmseg.structures import SegDataSample
from safetensors import safe_open
from tiny_configs import PROJECTS, load
from torch import nn

from code_mm.registry import MODELS
from code_mm.tokenizers import CLIPTokenizer
from projects.shapes_world import MuonAdamW, NounRetrievalMetric, clip_pretrain_batches
from projects.shapes_world.clip_pretrain_batches import CLIPPretrainBatches
from projects.shapes_world.clip_pretrainer import CLIPPretrainer, multi_positive_info_nce

SIZES = dict(embed_dim=16, image_size=32, patch_size=8, vision_width=32, vision_layers=2)
SIZES |= dict(context_length=12, text_width=16, text_layers=1)
CLIP = dict(type='CLIP', frozen=False, **SIZES)
WORDS = ['a star heart boat .']

tokenize = CLIPTokenizer().tokenize


def _samples(texts):
    """Samples of one text each."""
    samples = []
    for ids in tokenize(texts, 12):
        samples.append(SegDataSample())
        samples[-1].positive_ids = ids[None]
    return samples


def _model(**kwargs):
    torch.manual_seed(0)
    return CLIPPretrainer(clip=CLIP, **kwargs)


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


def _gradients(state, image, texts):
    """Loss and gradients of this process' share of a batch, averaged as DDP does."""
    rank, size = dist.get_rank(), dist.get_world_size()
    model = _model(vocabulary=WORDS)
    model.load_state_dict(state)
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
    expected = {name: p.grad for name, p in model.named_parameters()}
    results = run_in_two_processes(_gradients, model.state_dict(), image, texts)
    assert math.isclose(sum(r[0] for r in results) / 2, loss.item(), rel_tol=1e-5)
    for _, gradients in results:
        torch.testing.assert_close(gradients, expected, rtol=1e-4, atol=1e-6)


FEW = dict(world=dict(level='few', size=32), count=12)
CROP = dict(world=dict(level='crop', size=16), count=12, noun_templates=True)
STAGES = [
    dict(until=2, batches=[dict(crop=1.0)]),
    dict(until=6, batches=[dict(few=1.0), dict(crop=1.0)]),
]


def _batches(**keys):
    sizes = dict(batch_size=8, image_size=32, context_length=40, workers=1)
    return CLIPPretrainBatches(
        **{**sizes, 'sources': dict(crop=CROP, few=FEW), 'stages': STAGES, **keys}
    )


def test_a_batch_depends_on_seed_and_iteration_only():
    data, again, other = _batches(), _batches(), _batches(seed=1)
    assert [data[i]['inputs'].shape[-1] for i in range(6)] == [16, 16, 32, 16, 32, 16]
    a, b, c = data[4], again[4], other[4]
    assert torch.equal(a['inputs'], b['inputs'])
    assert [s.caption for s in a['data_samples']] == [s.caption for s in b['data_samples']]
    assert not torch.equal(a['inputs'], c['inputs'])


def test_an_image_has_all_its_nouns_as_texts():
    stages = [dict(until=3, batches=[dict(few=1.0)])]
    source = {**FEW, 'noun_templates': True}
    data = _batches(sources=dict(few=source), stages=stages, template_share=0.0)
    counts = set()
    for sample in [sample for index in range(3) for sample in data[index]['data_samples']]:
        texts = {tuple(ids.tolist()) for ids in sample.positive_ids}
        assert sample.positive_ids.shape == (3, 40)
        assert len(texts) == len(sample.object_nouns)
        last = {ids[ids.index(49407) - 2 + (269 not in ids)] for ids in texts}
        assert last == set(tokenize(sample.object_nouns)[:, 1].tolist())
        counts.add(len(texts))
    assert len(counts) > 1


def test_processes_share_a_batch_out(monkeypatch):
    whole = _batches()
    monkeypatch.setattr(clip_pretrain_batches, 'get_world_size', lambda: 2)
    shared = _batches()
    assert len(shared) == 12
    for iteration in range(6):
        parts = [shared[2 * iteration + rank]['inputs'] for rank in range(2)]
        assert [len(part) for part in parts] == [4, 4]
        images = sorted(image.numpy().tobytes() for image in torch.cat(parts))
        assert images == sorted(i.numpy().tobytes() for i in whole[iteration]['inputs'])


def _network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 24), nn.Linear(24, 8), nn.LayerNorm(8), nn.Linear(8, 3))


def _step(model, optimizer, factor=1.0):
    """A step with gradients that only ``factor`` and the place of a parameter decide."""
    for i, p in enumerate(model.parameters()):
        p.grad = factor * (i + 1) * torch.linspace(-0.1, 0.2, p.numel()).view(p.shape)
    optimizer.step()


needs_muon = pytest.mark.skipif(not hasattr(torch.optim, 'Muon'), reason='needs torch 2.9')


@needs_muon
def test_matrices_take_muon_and_the_rest_adamw():
    model, muon, adamw = _network(), _network(), _network()
    cfg = dict(type='MuonAdamW', block=8, lr=1e-2, weight_decay=0.1, scale=0.5)
    wrapper = build_optim_wrapper(model, dict(type='OptimWrapper', optimizer=cfg))
    keys = dict(lr=2.5e-2, weight_decay=0.1, adjust_lr_fn='match_rms_adamw')
    by_muon = torch.optim.Muon([muon[0].weight, muon[1].weight], **keys)
    by_adamw = torch.optim.AdamW(adamw.parameters(), lr=1e-2, weight_decay=0.1)
    for _ in range(3):
        _step(model, wrapper.optimizer)
        _step(muon, by_muon)
        _step(adamw, by_adamw)
    for name, value in model.named_parameters():
        source = muon if name in ('0.weight', '1.weight') else adamw
        assert torch.equal(value, source.get_parameter(name)), name


@needs_muon
def test_resuming_gives_the_same_parameters():
    model = _network()
    optimizer = MuonAdamW(model.parameters(), block=8, lr=1e-2)
    _step(model, optimizer)
    again = copy.deepcopy(model)
    resumed = MuonAdamW(again.parameters(), block=8, lr=1e-3)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for factor in (-2.0, 0.5):
        for group in (*optimizer.param_groups, *resumed.param_groups):  # as schedulers do
            group['lr'] *= 0.5
        _step(model, optimizer, factor)
        _step(again, resumed, factor)
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)


def _scored(scores, *nouns):
    return {'noun_scores': scores, 'object_nouns': nouns}


def test_noun_recall_by_hand():
    metric = NounRetrievalMetric(['star', 'heart', 'boat', 'fish'])
    metric.process(None, [_scored([0.9, 0.1, 0.8, 0.2], 'star', 'fish')])  # 1 of 2, first right
    none = _scored([0.1, 0.9, 0.0, 0.2], 'boat')
    everything = _scored([0.3, 0.2, 0.1, 0.9], 'star', 'fish', 'heart', 'grass')
    metric.process(None, [none, everything])
    # a dataset of whole batches counts two of them, one of images three
    found = metric.evaluate(size=2)
    assert found['noun_recall'] == pytest.approx((0.5 + 0 + 1) / 3)
    assert found['noun_recall_chance'] == pytest.approx((2 / 4 + 1 / 4 + 3 / 4) / 3)
    assert found['noun_precision_at_1'] == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match='at least one of the nouns'):
        metric.process(None, [_scored([0.1, 0.2, 0.3, 0.4], 'grass')])


@needs_muon
def test_trained_weights_are_exported_as_a_clip_that_embeds_alike(tmp_path):
    cfg = load('projects/shapes_world/configs/small_clip_shapes.py')
    clip = cfg.model.clip.to_dict()
    for name in ('train', 'val'):
        dataset = cfg[f'{name}_dataloader'].dataset
        for source in dataset.sources.values():
            source['count'] = 8
        dataset.update(cache_dir=str(tmp_path / 'cache'), workers=1, batch_size=8)
    cfg.test_dataloader = cfg.val_dataloader
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    cfg.work_dir, cfg.experiment_name = str(tmp_path), 'pretrain'
    runner = Runner.from_cfg(cfg)
    runner.train()
    (best,) = tmp_path.glob('best_noun_recall_*.pth')
    out = tmp_path / 'clip.safetensors'
    command = [sys.executable, PROJECTS / 'shapes_world' / 'export_clip.py', best, out]
    command += ['--metadata', 'config=x.py', 'command=a=b']
    subprocess.run([str(word) for word in command], check=True, cwd=tmp_path)

    pretrainer = runner.model
    with safe_open(out, 'pt') as file:
        metadata, rows = file.metadata(), file.get_tensor('token_embedding.weight')
        assert {'visual.proj', 'text_projection', 'logit_scale'} <= set(file.keys())
    assert metadata['iteration'] == '2' and metadata['command'] == 'a=b'
    assert rows.dtype == torch.float16 and rows.shape == (49408, 128)
    used = set(rows.abs().sum(1).nonzero().flatten().tolist())
    assert used == set(pretrainer.token_ids.tolist())
    init = dict(type='Pretrained', checkpoint=str(out))
    loaded = MODELS.build({**clip, 'frozen': True, 'init_cfg': init})
    loaded.init_weights()
    ids, image = tokenize(['a boat', 'star'], 12), torch.randn(2, 3, 64, 64)
    pretrainer.autocast_dtype = None
    with torch.no_grad():
        text = F.normalize(loaded.encode_text(ids), dim=1)
        visual = F.normalize(loaded.encode_image(image), dim=1)
        torch.testing.assert_close(text, pretrainer.embed_texts(ids), rtol=0, atol=5e-3)
        torch.testing.assert_close(visual, pretrainer.embed_images(image), rtol=0, atol=5e-3)
