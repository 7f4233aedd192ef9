"""What of a weight file went into a model: one form of report for every kind of file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from mmengine.logging import print_log
from torch import Tensor, nn

_MAX_GROUPS = 6


@dataclass(frozen=True)
class LoadReport:
    """Names that were loaded, missing and unexpected.

    Args:
        source (str): The file.
        layout (str): Whose names it has, for people.
        model (str): Type of the model.
        loaded (list[str]): Names found in both.
        missing (list[str]): Parameters of the model that the file lacks.
        unexpected (list[str]): Tensors of the file that the model has no use for.
        num_parameters (int): Parameters of the model, beside which it may have buffers.
        wrong (dict[str, tuple]): Names in both, but of another size: (the model's, the file's).
    """

    source: str
    layout: str
    model: str
    loaded: list[str]
    missing: list[str]
    unexpected: list[str]
    num_parameters: int
    wrong: dict[str, tuple[tuple, tuple]]

    @classmethod
    def compare(
        cls, model: nn.Module, state: dict[str, Tensor], source: str, layout: str
    ) -> LoadReport:
        """Compare the parameters of a model with tensors by the same names."""
        own = {name: tuple(p.shape) for name, p in model.named_parameters()}
        sizes = {name: tuple(value.shape) for name, value in state.items()}
        wrong = {n: (own[n], sizes[n]) for n in own if n in sizes and own[n] != sizes[n]}
        known = own.keys() | {name for name, _ in model.named_buffers()}
        return cls(
            source=str(source),
            layout=layout,
            model=type(model).__name__,
            loaded=[name for name in sizes if name in known and name not in wrong],
            missing=[name for name in own if name not in sizes],
            unexpected=[name for name in sizes if name not in known],
            num_parameters=len(own),
            wrong=wrong,
        )

    def require_fit(self, strict: bool = True, optional: Collection[str] = ()) -> None:
        """Stop where a file does not fit the model.

        Args:
            strict (bool): Every parameter must be there, but for ``optional`` ones; False: at
                least one.
            optional (Collection[str]): Names.

        Raises:
            ValueError: It does not fit.
        """
        missing = [name for name in self.missing if name not in optional]
        if not missing and not self.wrong:
            return
        if not strict and len(self.missing) + len(self.wrong) < self.num_parameters:
            return
        found = [f'{name} {file} for {own}' for name, (own, file) in self.wrong.items()][:3]
        raise ValueError(
            f'expected a checkpoint of this {self.model}, but {self.source} lacks '
            f'{len(missing)} of its {self.num_parameters} parameters {missing[:3]} and has '
            f'{len(self.wrong)} of another size {found}; use the config that it was trained with'
        )

    def log(self) -> None:
        print_log(str(self), logger='current')

    def __str__(self) -> str:
        return (
            f'{self.source} ({self.layout}) -> {self.model}: loaded {len(self.loaded)}, '
            f'missing {_summary(self.missing)}, unexpected {_summary(self.unexpected)}, '
            f'of another size {_summary(self.wrong)}'
        )


def _summary(names: Collection[str]) -> str:
    """'3 (visual.proj, text.transformer 2)': how many, and where they belong."""
    if not names:
        return '0'
    groups = Counter('.'.join(name.split('.')[:2]) for name in names)
    shown = [g if n == 1 else f'{g} {n}' for g, n in list(groups.items())[:_MAX_GROUPS]]
    more = ['...'] if len(groups) > _MAX_GROUPS else []
    return f'{len(names)} ({", ".join(shown + more)})'
