"""Under test-time augmentation scores and labels are those of all views."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models import SegTTAModel
from mmseg.structures import SegDataSample
from tiny_model import tiny_code
from torch import nn

from code_mm.models.segmentors import WindowedEncoderDecoder
from projects.dense_clip.name_scores import SoftmaxOverNames

VIEWS = [0.9, 0.2], [0.1, 0.6]


def merge(module, views=VIEWS):
    """Scores of one pixel, and its label."""
    samples = [SegDataSample(metainfo=dict(img_path='a.jpg')) for _ in views]
    for sample, scores in zip(samples, views, strict=True):
        sample.seg_logits = PixelData(data=torch.tensor(scores).view(-1, 1, 1))
    (merged,) = SegTTAModel(module=module).merge_preds([samples])
    return merged.seg_logits.data.flatten().tolist(), merged.pred_sem_seg.data.item()


def plain_module(**attributes):
    module = nn.Identity()
    for name, value in dict(attributes, test_step=None).items():
        setattr(module, name, value)
    return module


def test_scores_of_class_names_are_averaged_as_they_are():
    assert merge(tiny_code()) == (pytest.approx([0.5, 0.4]), 0)


def test_name_scores_decide_on_the_merged_scores():
    model = tiny_code()
    model.decode_head.name_scores = SoftmaxOverNames(min_score=0.5)
    assert merge(model, ([0.1, 0.9], [0.4, 0.2])) == (pytest.approx([0.25, 0.55]), 1)
    assert merge(model, ([0.1, 0.9], [0.4, 0.0])) == (pytest.approx([0.25, 0.45]), 0)  # unsure


def test_logits_of_other_models_are_averaged_as_probabilities():
    expected = torch.tensor(VIEWS).softmax(1).mean(0).tolist()
    assert merge(plain_module()) == (pytest.approx(expected), 0)
    one_class = plain_module(decode_head=plain_module(threshold=0.6))
    expected = torch.tensor([2.0, -1.0]).sigmoid().mean().item()
    assert merge(one_class, ([2.0], [-1.0])) == (pytest.approx([expected]), 0)


def test_refined_probabilities_stay():
    model = WindowedEncoderDecoder.__new__(WindowedEncoderDecoder)
    nn.Module.__init__(model)
    model.post_processor = nn.Identity()
    assert merge(model) == (pytest.approx([0.5, 0.4]), 0)


def test_labels_alone_cannot_be_merged():
    samples = [SegDataSample(), SegDataSample()]
    with pytest.raises(ValueError, match=r'set model\.test_cfg.keep_scores=True'):
        SegTTAModel(module=plain_module()).merge_preds([samples])
