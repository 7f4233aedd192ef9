"""Hooks for MMEngine's Runner."""

from .checkpoint_fit_hook import CheckpointFitHook
from .class_names_hook import ClassNamesHook
from .co_decomposition_hook import CoDecompositionHook
from .main_process_logger_hook import MainProcessLoggerHook
from .non_finite_loss_hook import NonFiniteLossHook
from .plain_checkpoint_hook import PlainCheckpointHook
from .protocol_hook import ProtocolHook
from .random_state_hook import RandomStateHook
from .stream_position_hook import StreamPositionHook
from .training_stages_hook import TrainingStagesHook

__all__ = [
    'CheckpointFitHook',
    'ClassNamesHook',
    'CoDecompositionHook',
    'MainProcessLoggerHook',
    'NonFiniteLossHook',
    'PlainCheckpointHook',
    'ProtocolHook',
    'RandomStateHook',
    'StreamPositionHook',
    'TrainingStagesHook',
]
