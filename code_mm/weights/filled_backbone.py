"""Whether a backbone has the weights that its config names."""

from torch import nn


def watch_filling(backbone: nn.Module) -> None:
    """Remember from now on when a checkpoint fills the backbone, alone or in its segmentor."""
    backbone._filled_by_checkpoint = False
    # torch >= 2.1: the same hook without the underscore came later
    backbone._register_load_state_dict_pre_hook(_remember, with_module=True)


def require_filled(backbone: nn.Module) -> None:
    """Refuse to predict with random weights where trained ones are named.

    Raises:
        RuntimeError: ``init_cfg`` names weights, but nothing was loaded.
    """
    init_cfg = getattr(backbone, 'init_cfg', None) or {}
    parts = init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]
    if not any(part.get('checkpoint') for part in parts):
        return  # random by intention
    if backbone.is_init or backbone._filled_by_checkpoint:
        return
    raise RuntimeError(
        f'expected a backbone with trained weights, but this {type(backbone).__name__} still has '
        f'random ones; call model.init_weights() to load what its init_cfg names ({init_cfg}), or '
        "load a checkpoint (mmseg's init_model loads none unless it is given one)"
    )


def _remember(backbone: nn.Module, state_dict: dict, prefix: str, *_) -> None:
    if any(name.startswith(prefix) for name in state_dict):
        backbone._filled_by_checkpoint = True
