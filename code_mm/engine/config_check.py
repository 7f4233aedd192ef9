"""Misspelt top-level keys of a config, which MMEngine would ignore in silence."""

import ast
import difflib
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config

from .config_parts import KEYS, check_keys, dicts

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


def read_config(path: str | Path) -> Config:
    """``Config.fromfile``, with a mistake of Python's grammar, and a missing module, named."""
    try:
        return Config.fromfile(path)
    except ImportError as error:
        reason = error
        while reason and not isinstance(reason, ModuleNotFoundError):
            reason = reason.__cause__ or reason.__context__
        if reason is None:
            raise
        raise ModuleNotFoundError(
            f'expected the modules that {path} names in custom_imports, but got none called '
            f'{reason.name!r}; install it, or correct the name'
        ) from error
    except SyntaxError as error:
        where = error.filename if error.filename not in (None, '<unknown>') else path
        raise ValueError(
            f'expected a config in Python, but line {error.lineno} of {where}, or of one of its '
            f'bases, is none: {error.msg} ({(error.text or "").strip()})'
        ) from error


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
    for name in _unread_variables(cfg):
        _refuse_variable(name, cfg[name], cfg)
    check_keys('env_cfg', cfg.get('env_cfg') or {}, ENV_KEYS)


def check_options(cfg: Config, options: dict | None) -> None:
    """Find ``--cfg-options``, not merged yet, that would add a top-level key that nothing reads.

    Raises:
        ValueError: Names the nearest valid key.
    """
    check_keys('--cfg-options', options or {}, KEYS | cfg.keys())
    for name in (options or {}).keys() - KEYS:
        _refuse_variable(name, options[name], cfg)


def _refuse_variable(name: str, value, cfg: Config) -> None:
    """Raise a ValueError for a variable that was used up while the bases were read."""
    places = {place: keys[name] for place, keys in dicts(cfg._cfg_dict) if place and name in keys}
    if places and value not in places.values():
        raise ValueError(
            f'expected a key that the Runner reads, but got {name!r}: a variable of the config, '
            f'which nothing reads any more; did you mean {next(iter(places))}.{name}?'
        )


def _unread_variables(cfg: Config) -> Iterator[str]:
    """Names of the numbers and texts that a config sets beside its bases and does not use."""
    if not (cfg.filename and cfg.filename.endswith('.py') and Path(cfg.filename).is_file()):
        return
    tree = ast.parse(Path(cfg.filename).read_text(encoding='utf-8'))
    targets = [node.targets[0] for node in tree.body if isinstance(node, ast.Assign)]
    set_here = [target.id for target in targets if isinstance(target, ast.Name)]
    if '_base_' not in set_here:
        return  # as MMEngine dumps a whole config, with variables that nothing reads
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    for name in set_here:
        if name not in used | KEYS and isinstance(cfg.get(name), (int, float, str)):
            yield name
