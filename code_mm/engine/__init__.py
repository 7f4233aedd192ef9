from . import hooks  # noqa: F401
from .muon_adamw import MuonAdamW  # noqa: F401
