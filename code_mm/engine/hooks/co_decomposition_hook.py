"""Co-decomposition pictures during validation and testing."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.logging import print_log
from torch.utils.data import Dataset, IterableDataset

from code_mm.registry import DATASETS, HOOKS
from code_mm.visualization import draw_co_decomposition

from .class_names_hook import unwrapped_model


@contextmanager
def fixed_draws() -> Iterator[None]:
    """Let NumPy and ``random`` draw as from seed 0, and go on as before afterwards."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    np.random.seed(0)
    random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)


@HOOKS.register_module()
class CoDecompositionHook(Hook):
    """Draw how the model splits a few image-caption pairs (thesis Fig. 4.2).

    After a validation (or test) run the same pairs, with the same crops and nouns, are given to
    ``model.decompose(inputs, data_samples)``, and the pictures to ``runner.visualizer``, so they
    land wherever its backends write (``vis_data/vis_image``, TensorBoard, ...) under
    ``co_decomposition_<i>``. ``decompose`` gives one sample per image with ``region_masks``
    [k, H, W] and ``word_masks`` [k, l] in [0, 1], the latter only where the model has a text
    segmenter. It is called on the main process only, so it must not communicate.

    Args:
        dataset (dict | Dataset, optional): Pairs, with the training pipeline's structure of
            samples (images in BGR order). Default: None, the training dataset.
        num_pairs (int): Number of pairs, spread evenly over the dataset.
    """

    priority = 'LOW'

    def __init__(self, dataset: dict | Dataset | None = None, num_pairs: int = 4) -> None:
        self.dataset, self.num_pairs = dataset, num_pairs
        self._pairs: list[dict] | None = None

    def before_train(self, runner) -> None:
        if self.dataset is None:
            self.dataset = runner.train_dataloader.dataset

    @master_only
    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        if self.dataset is None:
            print_log(
                'CoDecompositionHook draws nothing: outside of training it needs the key dataset.',
                logger='current',
            )
            return
        model = unwrapped_model(runner.model)
        if not callable(getattr(model, 'decompose', None)):
            raise TypeError(
                'expected a model with a method decompose(inputs, data_samples), but got '
                f'{type(model).__name__}; remove CoDecompositionHook'
            )
        if self._pairs is None:
            self._pairs = self._load()
        tokenizer = getattr(getattr(model, 'backbone', None), 'tokenizer', None)
        for i, pair in enumerate(self._pairs):
            data = model.data_preprocessor(pseudo_collate([pair]), False)
            with torch.no_grad():
                result = model.decompose(**data)[0]
            if not result.region_masks.isfinite().all():
                print_log(f'CoDecompositionHook: pair {i} has masks of NaN', logger='current')
                continue
            picture = _picture(pair['inputs'], result, tokenizer)
            runner.visualizer.add_image(f'co_decomposition_{i}', picture, step=runner.iter)

    after_test_epoch = after_val_epoch

    def _load(self) -> list[dict]:
        dataset = self.dataset
        if isinstance(dataset, dict):
            dataset = DATASETS.build(dataset)
        with fixed_draws():
            if isinstance(dataset, IterableDataset):
                return list(islice(dataset, self.num_pairs))
            count = min(self.num_pairs, len(dataset))
            indices = np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist()
            return [dataset[i] for i in indices]


def _picture(image: torch.Tensor, result, tokenizer) -> np.ndarray:
    words = getattr(result, 'word_masks', None)  # None without a text segmenter
    return draw_co_decomposition(
        np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy()[..., ::-1]),
        result.region_masks.detach().float().cpu().numpy(),
        result.caption,
        None if words is None else words.detach().float().cpu().numpy(),
        result.selected_nouns,
        tokenizer=tokenizer,
    )
