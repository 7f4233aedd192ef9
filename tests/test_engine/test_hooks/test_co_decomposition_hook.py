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
from code_mm.registry import DATASETS, HOOKS
from code_mm.visualization import draw_co_decomposition

CAPTION = 'a red circle on the grass'


def pair(index):
    """The left half of the image is blue in BGR order; the rest depends on the draw."""
    image = torch.full((3, 40, 48), int(np.random.randint(200)), dtype=torch.uint8)
    image[:, :, :24] = torch.tensor([250, 0, index])[:, None, None]
    sample = SegDataSample(
        metainfo=dict(caption=CAPTION, selected_nouns=['circle', 'grass'], index=index)
    )
    return dict(inputs=image, data_samples=sample)


@DATASETS.register_module(force=True)
class Pairs(Dataset):
    def __len__(self):
        return 9

    def __getitem__(self, index):
        return pair(index)


class Model(nn.Module):
    def __init__(self, **changes):
        super().__init__()
        self.data_preprocessor = SegDataPreProcessor(
            mean=[0, 0, 0], std=[1, 1, 1], bgr_to_rgb=True, size=(64, 64)
        )
        self.changes, self.seen = changes, []

    def decompose(self, inputs, data_samples):
        assert not torch.is_grad_enabled()
        self.seen.append((inputs.clone(), data_samples[0].index))
        result = dict(region_masks=masks(), word_masks=words(), **data_samples[0].metainfo)
        result.update(self.changes)
        return [SimpleNamespace(**result)]


def masks():
    regions = torch.zeros(2, 40, 48)
    regions[0, :20], regions[1, 20:] = 1, 1
    return regions


def words():
    probabilities = torch.zeros(2, 10)
    probabilities[0, 3], probabilities[1, 6] = 1, 0.5
    return probabilities


def make_runner(model, tmp_path=None, iteration=7):
    visualizer = SegLocalVisualizer(
        vis_backends=[dict(type='LocalVisBackend')], save_dir=str(tmp_path)
    )
    loader = SimpleNamespace(dataset=Pairs())
    return SimpleNamespace(
        model=model, visualizer=visualizer, iter=iteration, train_dataloader=loader
    )


def test_pictures_land_in_the_visualizer_backend(tmp_path):
    model = Model()
    runner = make_runner(nn.parallel.DataParallel(model), tmp_path)
    hook = HOOKS.build(dict(type='CoDecompositionHook', num_pairs=3))
    hook.before_train(runner)
    hook.after_val_epoch(runner)
    folder = tmp_path / 'vis_data' / 'vis_image'
    assert sorted(p.name for p in folder.iterdir()) == [
        f'co_decomposition_{i}_7.png' for i in range(3)
    ]
    assert [index for _, index in model.seen] == [0, 4, 8]  # spread over the dataset
    # the very picture of the pure function, with the image in RGB
    inputs, _ = model.seen[1]
    image = inputs[0].permute(1, 2, 0).numpy().astype(np.uint8)
    assert image[0, 0].tolist() == [4, 0, 250]
    expected = draw_co_decomposition(
        image, masks().numpy(), CAPTION, words().numpy(), ['circle', 'grass']
    )
    written = cv2.imread(str(folder / 'co_decomposition_1_7.png'))[..., ::-1]
    np.testing.assert_array_equal(written, expected)


def test_every_validation_shows_the_same_crops(tmp_path):
    model = Model()
    runner = make_runner(model, tmp_path)
    shown = []
    for _ in range(2):
        hook = CoDecompositionHook(dataset=dict(type='Pairs'), num_pairs=2)
        np.random.seed(len(shown))  # training is somewhere else each time
        before = np.random.get_state()[1].copy(), random.getstate()
        hook.after_val_epoch(runner)
        hook.after_val_epoch(runner)
        assert (np.random.get_state()[1] == before[0]).all()
        assert random.getstate() == before[1]
        shown.append([inputs for inputs, _ in model.seen])
        assert [index for _, index in model.seen] == [0, 8, 0, 8]
        model.seen = []
    for a, b in zip(shown[0], shown[1], strict=True):
        assert torch.equal(a, b)
    assert torch.equal(shown[0][0], shown[0][2])


def test_model_that_cannot_decompose(tmp_path):
    runner = make_runner(nn.Linear(1, 1), tmp_path)
    with pytest.raises(TypeError, match=r'decompose\(inputs, data_samples\), but got Linear'):
        CoDecompositionHook(Pairs()).after_val_epoch(runner)
