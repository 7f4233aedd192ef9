"""Hand the class names of the dataset under evaluation to the model."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn

from code_mm.registry import HOOKS
from code_mm.vocabulary import ClassNameFile


def unwrapped_model(model: nn.Module) -> nn.Module:
    """Take a model out of distributed wrappers and test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def read_class_names(
    class_names: str | Sequence[str] | None,
) -> tuple[list[str] | None, ClassNameFile | None]:
    """The class names that a config gives as a list or as a ``ClassNameFile``, and that file."""
    if class_names is None:
        return None, None
    if isinstance(class_names, str):
        file = ClassNameFile.read(class_names)
        return list(file.names), file
    if not isinstance(class_names, Sequence) or not all(isinstance(n, str) for n in class_names):
        raise TypeError(
            'expected class_names as a list of strings, or the name of a file of class names, but '
            f'got {class_names!r}'
        )
    return list(class_names), None


def dataset_class_names(dataset) -> list[str] | None:
    """Class names of a dataset in label order, found through wrappers; None where it has none."""
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if classes is not None:
        return list(classes)
    if hasattr(dataset, 'datasets'):
        found = [dataset_class_names(part) for part in dataset.datasets]
        if any(names != found[0] for names in found):
            raise ValueError(
                'expected concatenated datasets with the same class names, but got '
                + ' and '.join(str(names) for names in found)
                + '; evaluate them one after the other'
            )
        return found[0] if found else None
    if hasattr(dataset, 'dataset'):
        return dataset_class_names(dataset.dataset)
    return None


def hand_over_class_names(
    model, dataset, class_names: Sequence[str] | None = None, **threshold: float | None
) -> None:
    """Tell a model which classes to look for.

    Args:
        model (nn.Module): A zero-shot model, wrapped or not.
        dataset: The data set under evaluation.
        class_names (Sequence[str], optional): Names in place of the data set's own.
        **threshold (float | None): ``background_threshold``, where it is to be set too.

    Raises:
        TypeError: The model takes no class names, or no threshold.
        ValueError: There are no names, or another number than the data set has.
    """
    model = unwrapped_model(model)
    require_method(model, 'set_class_names')
    of_dataset = dataset_class_names(dataset)
    names = class_names if class_names is not None else of_dataset
    if names is None:
        raise ValueError(
            f"expected a dataset with metainfo['classes'], but {type(dataset).__name__} has "
            'none; give the key class_names to ClassNamesHook, or to the benchmark'
        )
    if of_dataset is not None and len(names) != len(of_dataset):
        raise ValueError(
            f'expected {len(of_dataset)} class_names, one per class of '
            f'{type(dataset).__name__} {of_dataset}, but got {len(names)}: {names}'
        )
    if threshold:
        require_method(model, 'set_background_threshold')
        model.set_background_threshold(threshold['background_threshold'])
    model.set_class_names(names)


def require_method(model, name: str) -> None:
    if not callable(getattr(model, name, None)):
        raise TypeError(
            f'expected a model with a method {name}, but got {type(model).__name__}; use a '
            'zero-shot model, or leave out what asks for it: ClassNamesHook, or keys of benchmarks'
        )


@HOOKS.register_module()
class ClassNamesHook(Hook):
    """Before every validation and test run, tell the model which classes to look for.

    A zero-shot model knows no classes; those of the data set under evaluation are its queries
    (thesis §4.1). ``model.set_class_names(names)`` is called before *every* run, also with the same
    names: their embeddings depend on the contexts of the noun prompt, which are still learnt.
    Loops over several data sets hand the names over by themselves.

    Args:
        class_names (str | Sequence[str], optional): Names in place of the data set's, in the order
            of its labels, or a file of them (see ``ClassNameFile``).
    """

    priority = 'LOW'  # an EMAHook has put its averaged weights in place

    def __init__(self, class_names: str | Sequence[str] | None = None) -> None:
        self.class_names, self.class_name_file = read_class_names(class_names)

    def before_val_epoch(self, runner) -> None:
        self._hand_over(runner, runner.val_loop)

    def before_test_epoch(self, runner) -> None:
        self._hand_over(runner, runner.test_loop)

    def _hand_over(self, runner, loop) -> None:
        if hasattr(loop, 'benchmarks'):  # a loop over several data sets does it before each
            if self.class_names is not None:
                raise ValueError(
                    'expected no class_names in ClassNamesHook, whose data sets have different '
                    f'classes under {type(loop).__name__}; give the key to single benchmarks'
                )
            return
        hand_over_class_names(runner.model, loop.dataloader.dataset, self.class_names)
