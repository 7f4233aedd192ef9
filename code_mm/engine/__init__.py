from . import hooks, loops  # noqa: F401
from .muon_adamw import MuonAdamW  # noqa: F401
