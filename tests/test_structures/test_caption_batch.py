import pytest
import torch
from mmseg.structures import SegDataSample

from code_mm.structures import CaptionBatch


def sample(number, k=2, length=4, noun_length=3, **metainfo):
    """Ids that tell sample, noun and position apart: 100 * sample + 10 * noun + position."""
    packed = SegDataSample(metainfo=metainfo)
    base = 100 * number
    packed.set_field(base + torch.arange(length), 'caption_ids')
    packed.set_field(torch.full((length,), -1), 'token_labels')
    nouns = base + 10 * torch.arange(1, k + 1)[:, None]
    packed.set_field(nouns + torch.arange(noun_length), 'noun_ids')
    packed.set_field(nouns + torch.arange(length), 'guide_ids')
    return packed


def test_pairs_are_noun_major():
    batch = CaptionBatch.from_samples([sample(1), sample(2), sample(3)])
    assert batch.caption_ids.tolist() == [[base + i for i in range(4)] for base in (100, 200, 300)]
    # row j * b + i is noun j of caption i
    assert batch.noun_ids[:, 0].tolist() == [110, 210, 310, 120, 220, 320]
    assert batch.noun_ids[4].tolist() == [220, 221, 222]
    assert batch.guide_ids[4].tolist() == [220, 221, 222, 223]
    assert batch.token_labels.shape == (3, 4)
    assert batch.nouns_per_caption == 2


def test_nouns_and_guides_are_cut_to_the_longest_of_the_batch():
    """Where the samples tell their lengths; captions keep all positions."""
    lengths = [dict(noun=2, guide=1, caption=2), dict(noun=1, guide=3, caption=3)]
    samples = [sample(i + 1, text_lengths=length) for i, length in enumerate(lengths)]
    batch = CaptionBatch.from_samples(samples)
    assert batch.noun_ids.tolist() == [[110, 111], [210, 211], [120, 121], [220, 221]]
    assert batch.guide_ids[1].tolist() == [210, 211, 212]
    assert batch.caption_ids.shape == batch.token_labels.shape == (2, 4)
    assert batch.caption_length == 3
    untold = CaptionBatch.from_samples([samples[0], sample(2)])
    assert untold.noun_ids.shape == (4, 3)
    assert untold.guide_ids.shape == (4, 4)
    assert untold.caption_length == 4


def test_a_sample_without_captions_is_named():
    whole = sample(1, sample_key='00000.tar/3')
    del whole.noun_ids, whole.token_labels
    with pytest.raises(ValueError, match=r'sample 00000\.tar/3 has no noun_ids'):
        CaptionBatch.from_samples([sample(2), whole])
    with pytest.raises(ValueError, match='sample without key has no'):
        CaptionBatch.from_samples([SegDataSample()])
    with pytest.raises(ValueError, match='at least one data sample with a caption, but got none'):
        CaptionBatch.from_samples(None)


def test_samples_of_different_numbers_of_nouns_are_named():
    odd = sample(2, k=3, sample_key='b.tar/1')
    with pytest.raises(ValueError, match=r'noun_ids .* \(2, 3\).* b.tar/1 has \(3, 3\)'):
        CaptionBatch.from_samples([sample(1), odd])
