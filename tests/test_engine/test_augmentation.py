"""Under test-time augmentation the scores are those of all views, as the label map is."""

import torch
from mmengine.structures import PixelData
from mmseg.models import SegTTAModel
from mmseg.structures import SegDataSample
from tiny_model import tiny_code
from torch import nn

import code_mm  # noqa: F401


def views(*scores):
    found = []
    for each in scores:
        sample = SegDataSample(metainfo=dict(img_path='a.jpg'))
        sample.seg_logits = PixelData(data=torch.tensor(each).view(2, 1, 1))
        found.append(sample)
    return found


def merge(module):
    return SegTTAModel(module=module).merge_preds([views([0.9, 0.2], [0.1, 0.6])])[0]


def test_scores_of_class_names_are_averaged_as_they_are():
    sample = merge(tiny_code())
    torch.testing.assert_close(sample.seg_logits.data.flatten(), torch.tensor([0.5, 0.4]))
    assert sample.pred_sem_seg.data.flatten().tolist() == [0]


def test_logits_of_other_models_are_averaged_as_probabilities():
    module = nn.Identity()
    module.out_channels, module.test_step = 2, None
    expected = torch.tensor([[0.9, 0.2], [0.1, 0.6]]).softmax(1).mean(0)
    torch.testing.assert_close(merge(module).seg_logits.data.flatten(), expected)
