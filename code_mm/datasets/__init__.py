from .benchmarks import *  # noqa: F403
from .captions import *  # noqa: F403
from .transforms import *  # noqa: F403
