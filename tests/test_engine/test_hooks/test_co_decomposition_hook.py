import random
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmseg.models import SegDataPreProcessor
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer
from torch import nn
from torch.utils.data import Dataset

from code_mm.engine.hooks import CoDecompositionHook
from code_mm.registry import DATASETS
from code_mm.visualization import draw_co_decomposition

CAPTION, NOUNS = 'a red circle on the grass', ['circle', 'grass']
MASKS, WORDS = torch.zeros(2, 40, 48), torch.zeros(2, 10)
MASKS[0, :20], MASKS[1, 20:] = 1, 1
WORDS[0, 3], WORDS[1, 6] = 1, 0.5


@DATASETS.register_module(force=True)
class Pairs(Dataset):
    """The left half of an image is blue in BGR order; the rest depends on the draw."""

    def __len__(self):
        return 9

    def __getitem__(self, index):
        image = torch.full((3, 40, 48), int(np.random.randint(200)), dtype=torch.uint8)
        image[:, :, :24] = torch.tensor([250, 0, index])[:, None, None]
        metainfo = dict(caption=CAPTION, selected_nouns=NOUNS, index=index)
        return dict(inputs=image, data_samples=SegDataSample(metainfo=metainfo))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.data_preprocessor = SegDataPreProcessor(
            mean=[0, 0, 0], std=[1, 1, 1], bgr_to_rgb=True, size=(64, 64)
        )
        self.seen = []

    def decompose(self, inputs, data_samples):
        assert not torch.is_grad_enabled()
        self.seen.append((inputs.clone(), data_samples[0].index))
        found = SimpleNamespace(**data_samples[0].metainfo)
        found.region_masks, found.word_masks = MASKS, WORDS
        return [found]


def make_runner(model, folder):
    backends = [dict(type='LocalVisBackend')]
    visualizer = SegLocalVisualizer(vis_backends=backends, save_dir=str(folder))
    loader = SimpleNamespace(dataset=Pairs())
    return SimpleNamespace(model=model, visualizer=visualizer, iter=7, train_dataloader=loader)


def test_every_validation_draws_the_same_crops_into_the_visualizers_backend(tmp_path):
    model = Model()
    runner = make_runner(nn.parallel.DataParallel(model), tmp_path)
    for dataset in (dict(type='Pairs'), None):  # of the training, and twice each
        hook = CoDecompositionHook(dataset, num_pairs=3)
        hook.before_train(runner)
        before = np.random.get_state()[1].copy(), random.getstate()
        hook.after_val_epoch(runner)
        hook.after_val_epoch(runner)
        assert (np.random.get_state()[1] == before[0]).all() and random.getstate() == before[1]
        np.random.seed(1)  # training is somewhere else by then
    assert [index for _, index in model.seen] == [0, 4, 8] * 4  # spread over the dataset
    for i, (inputs, _) in enumerate(model.seen):
        assert torch.equal(inputs, model.seen[i % 3][0])
    files = sorted((tmp_path / 'vis_data' / 'vis_image').iterdir())
    assert [file.name for file in files] == [f'co_decomposition_{i}_7.png' for i in range(3)]
    # the very picture of the pure function, with the image in RGB
    image = model.seen[1][0][0].permute(1, 2, 0).numpy().astype(np.uint8)
    assert image[0, 0].tolist() == [4, 0, 250]
    expected = draw_co_decomposition(image, MASKS.numpy(), CAPTION, WORDS.numpy(), NOUNS)
    np.testing.assert_array_equal(cv2.imread(str(files[1]))[..., ::-1], expected)


def test_model_that_cannot_decompose(tmp_path):
    runner = make_runner(nn.Linear(1, 1), tmp_path)
    with pytest.raises(TypeError, match=r'decompose\(inputs, data_samples\), but got Linear'):
        CoDecompositionHook(Pairs()).after_val_epoch(runner)
