from . import hooks, loops, mixed_precision  # noqa: F401
from .every_run import prepare_every_run
from .openmmlab_mmengine import complete_mmengine

complete_mmengine()
prepare_every_run()
