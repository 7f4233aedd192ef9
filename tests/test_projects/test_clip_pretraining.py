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
from tiny_model import SIZES
from torch import nn

from code_mm.registry import MODELS
from code_mm.tokenizers import CLIPTokenizer
from projects.shapes_world import NounRetrievalMetric, clip_pretrain_batches
from projects.shapes_world.clip_pretrain_batches import CLIPPretrainBatches
from projects.shapes_world.clip_pretrainer import CLIPPretrainer, multi_positive_info_nce

WORDS = ['a star heart boat .']
tokenize = CLIPTokenizer().tokenize
needs_muon = pytest.mark.skipif(not hasattr(torch.optim, 'Muon'), reason='needs torch 2.9')


def make_model(**keys):
    torch.manual_seed(0)
    return CLIPPretrainer(clip=dict(type='CLIP', frozen=False, **SIZES), **keys)


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
    model = make_model()
    image = torch.randn(2, 3, 16, 24)
    model.embed_images(image, (2, 1)).sum().backward()
    moved = model.clip.visual.positional_embedding.grad.abs().sum(1) > 0
    grid = torch.zeros(4, 4, dtype=torch.bool)
    grid[2:4, 1:4] = True
    assert torch.equal(moved, torch.cat([torch.tensor([True]), grid.flatten()]))
    with pytest.raises(ValueError, match=r'2 x 3 patches inside .* 4 x 4, but got it at \(3, 0\)'):
        model.embed_images(image, (3, 0))


def loss_and_gradients(image, texts):
    """Of this process' share of a batch, the gradients averaged as DDP does."""
    rank, size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    model, samples = make_model(vocabulary=WORDS), []
    for ids in tokenize(texts[rank::size], 24):
        samples.append(SegDataSample())
        samples[-1].positive_ids = ids[None]
    loss = model(image[rank::size], samples, mode='loss')['loss_contrastive']
    loss.backward()
    for parameter in model.parameters() if size > 1 else ():
        dist.all_reduce(parameter.grad)
        parameter.grad /= size
    return loss.item(), {name: p.grad for name, p in model.named_parameters()}


def test_two_processes_train_as_one(run_in_two_processes):
    torch.manual_seed(1)
    batch = torch.randn(4, 3, 32, 32), ['star', 'a boat.', 'a heart', 'star']
    loss, expected = loss_and_gradients(*batch)
    results = run_in_two_processes(loss_and_gradients, *batch)
    assert math.isclose(sum(r[0] for r in results) / 2, loss, rel_tol=1e-5)
    for _, gradients in results:
        torch.testing.assert_close(gradients, expected, rtol=1e-4, atol=1e-5)


SOURCES = dict(
    crop=dict(world=dict(level='crop', size=16), count=12, noun_templates=True),
    few=dict(world=dict(level='few', size=32), count=12),
    nouns=dict(world=dict(level='few', size=32), count=12, noun_templates=True),
)
STAGES = [
    dict(until=2, batches=[dict(crop=1.0)]),
    dict(until=6, batches=[dict(few=1.0), dict(crop=1.0)]),
]


def make_batches(stages=STAGES, **keys):
    sizes = dict(batch_size=8, image_size=32, context_length=40, workers=1)
    return CLIPPretrainBatches(SOURCES, stages, **sizes, **keys)


def test_a_batch_depends_on_seed_and_iteration_only_and_is_shared_out(monkeypatch):
    data, other = make_batches(), make_batches(seed=1)
    assert [data[i]['inputs'].shape[-1] for i in range(6)] == [16, 16, 32, 16, 32, 16]
    a, b, c = data[4], make_batches()[4], other[4]
    assert torch.equal(a['inputs'], b['inputs'])
    assert [s.caption for s in a['data_samples']] == [s.caption for s in b['data_samples']]
    assert not torch.equal(a['inputs'], c['inputs'])
    monkeypatch.setattr(clip_pretrain_batches, 'get_world_size', lambda: 2)
    shared = make_batches()
    assert len(shared) == 12
    for iteration in range(6):
        parts = [shared[2 * iteration + rank]['inputs'] for rank in range(2)]
        assert [len(part) for part in parts] == [4, 4]
        images = sorted(image.numpy().tobytes() for image in torch.cat(parts))
        assert images == sorted(i.numpy().tobytes() for i in data[iteration]['inputs'])


def test_an_image_has_all_its_nouns_as_texts():
    data = make_batches([dict(until=3, batches=[dict(nouns=1.0)])], template_share=0.0)
    counts = set()
    for sample in [sample for index in range(3) for sample in data[index]['data_samples']]:
        texts = {tuple(ids.tolist()) for ids in sample.positive_ids}
        assert sample.positive_ids.shape == (3, 40)
        assert len(texts) == len(sample.object_nouns)
        last = {ids[ids.index(49407) - 2 + (269 not in ids)] for ids in texts}  # before a dot
        assert last == set(tokenize(sample.object_nouns)[:, 1].tolist())
        counts.add(len(texts))
    assert len(counts) > 1


@needs_muon
def test_matrices_take_muon_and_the_rest_adamw_and_both_are_resumed():
    network = nn.Sequential(nn.Linear(8, 24), nn.Linear(24, 8), nn.LayerNorm(8), nn.Linear(8, 3))
    model, muon, adamw = (copy.deepcopy(network) for _ in range(3))

    def step(model, optimizer, factor=1.0):
        """With gradients that only ``factor`` and the place of a parameter decide."""
        for i, p in enumerate(model.parameters()):
            p.grad = factor * (i + 1) * torch.linspace(-0.1, 0.2, p.numel()).view(p.shape)
        optimizer.step()

    cfg = dict(type='MuonAdamW', block=8, lr=1e-2, weight_decay=0.1, scale=0.5)
    wrapper = dict(type='OptimWrapper', optimizer=cfg)
    optimizer = build_optim_wrapper(model, wrapper).optimizer
    keys = dict(lr=2.5e-2, weight_decay=0.1, adjust_lr_fn='match_rms_adamw')
    by_muon = torch.optim.Muon([muon[0].weight, muon[1].weight], **keys)
    by_adamw = torch.optim.AdamW(adamw.parameters(), lr=1e-2, weight_decay=0.1)
    for _ in range(3):
        step(model, optimizer)
        step(muon, by_muon)
        step(adamw, by_adamw)
    for name, value in model.named_parameters():
        source = muon if name in ('0.weight', '1.weight') else adamw
        assert torch.equal(value, source.get_parameter(name)), name

    again = copy.deepcopy(model)
    resumed = build_optim_wrapper(again, wrapper).optimizer
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for factor in (-2.0, 0.5):
        for group in (*optimizer.param_groups, *resumed.param_groups):  # as schedulers do
            group['lr'] *= 0.5
        step(model, optimizer, factor)
        step(again, resumed, factor)
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_noun_recall_by_hand():
    metric = NounRetrievalMetric(['star', 'heart', 'boat', 'fish'])

    def process(*images):
        metric.process(None, [dict(noun_scores=s, object_nouns=nouns) for s, *nouns in images])

    process(([0.9, 0.1, 0.8, 0.2], 'star', 'fish'))  # 1 of 2, first right
    none = [0.1, 0.9, 0.0, 0.2], 'boat'
    process(none, ([0.3, 0.2, 0.1, 0.9], 'star', 'fish', 'heart', 'grass'))  # all
    # a dataset of whole batches counts two of them, one of images three
    found = metric.evaluate(size=2)
    assert found['noun_recall'] == pytest.approx((0.5 + 0 + 1) / 3)
    assert found['noun_recall_chance'] == pytest.approx((2 / 4 + 1 / 4 + 3 / 4) / 3)
    assert found['noun_precision_at_1'] == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match='at least one of the nouns'):
        process(([0.1, 0.2, 0.3, 0.4], 'grass'))


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
    subprocess.run(command, check=True, cwd=tmp_path)

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
        text, visual = loaded.encode_text(ids), loaded.encode_image(image)
        pairs = (text, pretrainer.embed_texts(ids)), (visual, pretrainer.embed_images(image))
        for found, expected in pairs:
            torch.testing.assert_close(F.normalize(found, dim=1), expected, rtol=0, atol=5e-3)
    zebra = tokenize('zebra', 12)
    with pytest.raises(ValueError, match=f'got token {int(zebra[0, 1])}; add its word to vocabula'):
        pretrainer.embed_texts(zebra)
