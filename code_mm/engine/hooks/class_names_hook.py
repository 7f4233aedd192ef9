"""Hand the class names of the dataset under evaluation to the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn

from code_mm.registry import HOOKS
from code_mm.vocabulary import ClassNameFile


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
        self.class_names = read_class_names(class_names)

    def before_val_epoch(self, runner) -> None:
        self._hand_over(runner, runner.val_loop)

    def before_test_epoch(self, runner) -> None:
        self._hand_over(runner, runner.test_loop)

    def _hand_over(self, runner, loop) -> None:
        if not hasattr(loop, 'benchmarks'):
            hand_over_class_names(runner.model, loop.dataloader.dataset, self.class_names)
        elif self.class_names is not None:
            raise ValueError(
                'expected no class_names in ClassNamesHook, whose data sets have different '
                f'classes under {type(loop).__name__}; give the key to single benchmarks'
            )


def read_class_names(
    class_names: str | Sequence[str] | None,
) -> list[str] | ClassNameFile | None:
    """The class names that a config gives as a list or as the name of a ``ClassNameFile``."""
    if class_names is None:
        return None
    if isinstance(class_names, str):
        return ClassNameFile.read(class_names)
    if not isinstance(class_names, Sequence) or not all(isinstance(n, str) for n in class_names):
        raise TypeError(
            'expected class_names as a list of strings, or the name of a file of class names, but '
            f'got {class_names!r}'
        )
    return list(class_names)


def hand_over_class_names(
    model: nn.Module, dataset, class_names: list[str] | ClassNameFile | None = None
) -> None:
    """Tell a model, wrapped or not, which classes to look for: those given, or the data set's.

    Raises:
        TypeError: The model takes no class names.
        ValueError: There are no names, or another number than the data set has.
    """
    set_class_names = require_method(unwrapped_model(model), 'set_class_names')
    of_dataset = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    names = of_dataset if class_names is None else class_names
    if names is None:
        raise ValueError(
            f"expected a dataset with metainfo['classes'], but {type(dataset).__name__} has "
            'none; give the key class_names to ClassNamesHook, or to the benchmark'
        )
    names = list(names.names if isinstance(names, ClassNameFile) else names)
    if of_dataset is not None and len(names) != len(of_dataset):
        raise ValueError(
            f'expected {len(of_dataset)} class_names, one per class of '
            f'{type(dataset).__name__} {of_dataset}, but got {len(names)}: {names}'
        )
    set_class_names(names)


def unwrapped_model(model: nn.Module) -> nn.Module:
    """Take a model out of distributed wrappers and test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def require_method(model: nn.Module, name: str) -> Callable:
    """The model's method of this name, or an error that says what asks for it."""
    if not callable(method := getattr(model, name, None)):
        raise TypeError(
            f'expected a model with a method {name}, but got {type(model).__name__}; use a '
            'zero-shot model, or leave out what asks for it: ClassNamesHook, or keys of benchmarks'
        )
    return method
