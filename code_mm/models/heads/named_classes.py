"""What a head knows about its classes: names, embeddings, background plane."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from .class_embeddings import embed_class_names
from .class_names import phrases_by_class
from .embedding_cache import EmbeddingCache
from .embedding_files import EmbeddingFiles


class NamedClasses(nn.Module):
    """The class side of a decode head; ``ZeroShotHead`` adds the image side.

    Needs the attributes ``templates`` and ``knowledge_preserving`` of the head.
    """

    def _init_classes(
        self,
        names: Sequence[str] | None,
        background_threshold: float | None,
        embedding_dir: str | None = None,
    ) -> None:
        self.class_names = names
        self.background_threshold = _checked_threshold(background_threshold)
        self._of_training_labels = (names, background_threshold)
        self._synonyms_per_class: list[int] = []
        self._cache = EmbeddingCache(EmbeddingFiles(embedding_dir) if embedding_dir else None)
        self.register_buffer('class_embeddings', None, persistent=False)
        self.register_buffer('frozen_class_embeddings', None, persistent=False)

    @property
    def synonyms_per_class(self) -> tuple[int, ...]:
        """How many names each class has that is looked for, a background plane left out."""
        return tuple(self._synonyms_per_class)

    def phrases(self, names: Sequence[str]) -> list[str]:
        """What is embedded for these class names; rules and errors as in ``phrases_by_class``."""
        classes = phrases_by_class(names, self.background_threshold is not None)
        return [phrase for synonyms in classes for phrase in synonyms]

    def embed_and_set(
        self,
        names: Sequence[str],
        text_encoder: nn.Module,
        embed: Callable[[list[str]], Tensor],
        modules: Sequence[nn.Module] = (),
    ) -> None:
        """Embed class names and take the embeddings over; known ones are not made again.

        Args:
            names (Sequence[str]): All class names.
            text_encoder (nn.Module): Also embeds for the knowledge-preserving branch.
            embed (Callable): Phrases -> unit-length embeddings [phrases, c].
            modules (Sequence[nn.Module]): What ``embed`` uses beside ``text_encoder``.
        """
        phrases, mix = self.phrases(names), self.knowledge_preserving
        of_mix = tuple(mix.templates) if mix else ()
        embeddings = self._cache.get(
            (tuple(phrases), tuple(self.templates), of_mix),
            [text_encoder, *modules],
            lambda: (
                embed(phrases),
                embed_class_names(text_encoder, phrases, of_mix) if mix else None,
            ),
        )
        self.set_class_embeddings(names, *embeddings)

    def set_background_threshold(self, threshold: float | None) -> None:
        """Set the score of the background plane, in (0, 1), or None for no such plane.

        Where a plane appears or goes, the class names are forgotten, since only names with a
        plane begin with 'background': call it before :meth:`set_class_names`.
        """
        before = self.background_threshold
        self.background_threshold = _checked_threshold(threshold)
        if (before is None) != (threshold is None):
            self.class_names = self.class_embeddings = self.frozen_class_embeddings = None

    def set_class_embeddings(
        self, names: Sequence[str], embeddings: Tensor, frozen: Tensor | None = None
    ) -> None:
        """Take over ready-made embeddings.

        Args:
            names (Sequence[str]): All class names, 'background' first if there is a threshold.
            embeddings (Tensor): Unit-length embeddings [phrases, c] of :meth:`phrases`.
            frozen (Tensor, optional): Those of the knowledge-preserving branch.
        """
        self.class_names = list(names)
        classes = phrases_by_class(names, self.background_threshold is not None)
        self._synonyms_per_class = [len(synonyms) for synonyms in classes]
        if len(embeddings) != sum(self._synonyms_per_class):
            raise ValueError(
                f'expected {sum(self._synonyms_per_class)} embeddings for {classes}, but got '
                f'{len(embeddings)}'
            )
        self.num_classes = self.out_channels = len(self.class_names)
        self.class_embeddings, self.frozen_class_embeddings = embeddings, frozen

    def return_to_training_classes(self) -> None:
        """Look for the classes of the config again, where it has any, and keep no more files.

        A validation asks for those of its own data set, which labels in training do not mean.
        """
        names, threshold = self._of_training_labels
        if names is not None:
            self.class_names, self.background_threshold = list(names), threshold
        self._cache.leave_disk()  # a file per validation would pile up, of weights seen only once
        self.forget_class_embeddings()

    def forget_class_embeddings(self) -> None:
        """Drop embeddings that no longer fit the weights; the names are kept."""
        self._cache.clear()
        self.class_embeddings = self.frozen_class_embeddings = None

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.forget_class_embeddings()  # they were made with the weights before


def _checked_threshold(value: float | None) -> float | None:
    if value is not None and not 0 < value < 1:
        raise ValueError(f'expected a background_threshold in (0, 1), but got {value}')
    return value
