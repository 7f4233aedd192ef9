from . import hooks, loops, mixed_precision  # noqa: F401
from .every_run import prepare_every_run
from .muon_adamw import MuonAdamW  # noqa: F401

prepare_every_run()
