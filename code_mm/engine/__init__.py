from . import hooks, loops, mixed_precision  # noqa: F401
from .every_run import prepare_every_run

prepare_every_run()
