import numpy as np
import pytest
import torch

from projects.shapes_world import clip_pretrain_batches
from projects.shapes_world.clip_pretrain_batches import CLIPPretrainBatches, first_item
from code_mm.tokenizers import tokenize

CROP = dict(world=dict(level='crop', size=16), count=12, noun_templates=True)
FEW = dict(world=dict(level='few', size=32), count=12)


def _batches(**keys):
    keys = {
        'sources': dict(crop=CROP, few=FEW),
        'stages': [
            dict(until=2, batches=[dict(crop=1.0)]),
            dict(until=6, batches=[dict(few=1.0), dict(crop=1.0)]),
        ],
        'batch_size': 8,
        'image_size': 32,
        'context_length': 40,
        'workers': 1,
        **keys,
    }
    return CLIPPretrainBatches(**keys)


def test_stages_and_their_cycle():
    data = _batches()
    sizes = [data[i]['inputs'].shape[-1] for i in range(6)]
    assert len(data) == 6 and sizes == [16, 16, 32, 16, 32, 16]
    with pytest.raises(IndexError):
        data[6]


def test_a_batch_depends_on_seed_and_iteration_only():
    first, again, other = _batches(), _batches(), _batches(seed=1)
    again[0]
    a, b, c = first[4], again[4], other[4]
    assert torch.equal(a['inputs'], b['inputs'])
    assert [s.caption for s in a['data_samples']] == [s.caption for s in b['data_samples']]
    assert not torch.equal(a['inputs'], c['inputs'])


def test_nouns_of_a_batch_share_a_template_and_a_window():
    data = _batches(template_share=0.0)
    for index in (0, 1, 3):
        samples = data[index]['data_samples']
        windows = {s.position_window for s in samples}
        assert len(windows) == 1 and max(windows.pop()) <= 2
        options = [
            tokenize([t.format(s.object_nouns[0]) for s in samples], 40)
            for t in ('{}', 'a {}.', 'the {}.')
        ]
        ids = torch.stack([s.positive_ids for s in samples])
        assert ids.shape == (8, 1, 40)
        assert sum(torch.equal(ids[:, 0], option) for option in options) == 1


def test_an_image_has_all_its_nouns_as_texts():
    data = _batches(
        sources=dict(few={**FEW, 'noun_templates': True}),
        stages=[dict(until=3, batches=[dict(few=1.0)])],
        template_share=0.0,
    )
    counts = set()
    for index in range(3):
        for sample in data[index]['data_samples']:
            texts = {tuple(ids.tolist()) for ids in sample.positive_ids}
            assert sample.positive_ids.shape == (3, 40)
            assert len(texts) == len(sample.object_nouns)
            last = {ids[ids.index(49407) - 2 + (269 not in ids)] for ids in texts}
            assert last == set(tokenize(sample.object_nouns)[:, 1].tolist())
            counts.add(len(texts))
    assert len(counts) > 1


def test_captions_are_the_only_text_of_their_image():
    sample = _batches()[2]['data_samples'][0]
    assert torch.equal(sample.positive_ids, tokenize([sample.caption], 40))


def test_processes_share_a_batch_out(monkeypatch):
    whole = _batches()
    monkeypatch.setattr(clip_pretrain_batches, 'get_world_size', lambda: 2)
    shared = _batches()
    assert len(shared) == 12
    for iteration in range(6):
        parts = [shared[2 * iteration + rank] for rank in range(2)]
        assert [len(p['inputs']) for p in parts] == [4, 4]
        together = {p.numpy().tobytes() for part in parts for p in part['inputs']}
        assert together == {p.numpy().tobytes() for p in whole[iteration]['inputs']}
    with pytest.raises(ValueError, match='2 processes divide, but got 7'):
        _batches(batch_size=7)


def test_mixed_batches_keep_their_size():
    crop = {**CROP, 'world': dict(level='crop', size=32)}
    empty = {**crop, 'world': dict(level='crop', size=32, num_objects=(0, 0))}
    data = _batches(
        sources=dict(crop=crop, empty=empty),
        stages=[dict(until=9, batches=[dict(crop=0.6, empty=0.4)])],
    )
    from projects.shapes_world import BACKGROUNDS

    kinds = [s.object_nouns[0] in BACKGROUNDS for i in range(9) for s in data[i]['data_samples']]
    assert len(kinds) == 72 and 0.2 < np.mean(kinds) < 0.6


def test_ordered_batches_visit_every_image_once():
    data = _batches(
        sources=dict(few=FEW),
        stages=[dict(until=1, batches=[dict(few=1.0)])],
        batch_size=5,
        augment=False,
        ordered=True,
        split='validation',
    )
    batches = [data[i] for i in range(len(data))]
    assert [len(b['inputs']) for b in batches] == [5, 5, 2]
    source = data.sources['few']
    images = torch.cat([b['inputs'] for b in batches]).permute(0, 2, 3, 1).flip(-1).numpy()
    assert np.array_equal(images, source.images)
    captions = [s.caption for b in batches for s in b['data_samples']]
    assert captions == source.captions


def test_the_cache_gives_the_same_samples(tmp_path):
    a, b = _batches(cache_dir=str(tmp_path)), _batches(cache_dir=str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 2
    assert torch.equal(a[3]['inputs'], b[3]['inputs'])
    assert a[2]['data_samples'][0].caption == b[2]['data_samples'][0].caption


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r'rising `until` of the stages, but got \[4, 2\]'):
        _batches(stages=[dict(until=4, batches=[{}]), dict(until=2, batches=[{}])])
    with pytest.raises(ValueError, match=r"sources \['crop', 'few'\], but got \['crap'\]"):
        _batches(stages=[dict(until=4, batches=[dict(crap=1.0)])])


def test_first_item():
    assert first_item([{'inputs': 1}]) == {'inputs': 1}
