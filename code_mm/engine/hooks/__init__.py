"""Hooks for MMEngine's Runner."""

from .class_names_hook import ClassNamesHook
from .co_decomposition_hook import CoDecompositionHook
from .random_state_hook import RandomStateHook
from .training_stages_hook import TrainingStagesHook

__all__ = ['ClassNamesHook', 'CoDecompositionHook', 'RandomStateHook', 'TrainingStagesHook']
