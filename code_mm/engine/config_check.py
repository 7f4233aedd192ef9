"""Misspelt top-level keys of a config, which MMEngine would ignore in silence."""

import difflib
import inspect
from collections.abc import Collection

from mmengine.config import Config
from mmengine.runner import Runner

# The top-level keys with a meaning: parameters of the Runner, and what it takes from ``cfg`` itself
# or the tools read.
KEYS = {
    *(set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'}),
    *('compile', 'custom_imports', 'find_unused_parameters', 'model_wrapper_cfg', 'runner_type'),
    *('sync_bn', 'tta_model', 'tta_pipeline', 'vis_backends'),
}
# Names that configs give to values of their own and that resemble a key.
HELPER_NAMES = {'train_pipeline', 'val_pipeline', 'test_pipeline'}
ENV_KEYS = {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'}
# Keys whose value is a text; a name that resembles them but holds a dict is something else.
TEXT_KEYS = {
    *('default_scope', 'experiment_name', 'launcher', 'load_from', 'log_level', 'work_dir'),
}
# difflib's ratio: one wrong, missing or swapped letter in a key of 9 letters scores .88 or more.
# No top-level name in MMSegmentation's own 700 configs comes near it, but for HELPER_NAMES.
SIMILARITY = 0.85


def check_config(cfg: Config) -> None:
    """Find misspelt top-level keys, such as ``train_dataloder``, and unknown ones of ``env_cfg``.

    A config may define variables of its own, so an unknown name is an error only where it is
    nearly a key and its value is of that key's kind.

    Raises:
        ValueError: Names the nearest valid key.
    """
    for name in [name for name in cfg if name not in KEYS | HELPER_NAMES]:
        nearest = difflib.get_close_matches(name, KEYS, n=1, cutoff=SIMILARITY)
        kind = str if nearest and nearest[0] in TEXT_KEYS else (dict, list, tuple)
        if nearest and isinstance(cfg[name], kind):
            raise ValueError(
                f'expected a key that the Runner knows, but got {name!r} in the config; '
                f'did you mean {nearest[0]!r}? (If {name!r} is a variable of your own, give it a '
                f'name that is not nearly a key.)'
            )
    _require_known('env_cfg', cfg.get('env_cfg') or {}, ENV_KEYS)


def check_options(cfg: Config, options: dict | None) -> None:
    """Find ``--cfg-options``, not merged yet, that would add a top-level key that nothing reads.

    Raises:
        ValueError: Names the nearest valid key.
    """
    _require_known('--cfg-options', options or {}, KEYS | cfg.keys())


def _require_known(where: str, given: Collection[str], valid: set[str]) -> None:
    for name in given:
        first = name.split('.')[0]
        if first not in valid:
            nearest = difflib.get_close_matches(first, valid, n=1, cutoff=0.6)
            advice = f'did you mean {nearest[0]!r}?' if nearest else f'valid: {sorted(valid)}'
            raise ValueError(f'expected a known key in {where}, but got {name!r}; {advice}')
