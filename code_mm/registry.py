"""The registries of code_mm: children of MMSegmentation's.

A config names a part of code_mm with the scope, ``code_mm.PAMR``, which always works once
``code_mm`` is imported, or by its bare name, ``PAMR``, where MMSegmentation has none of that name.
"""

# Upstream parts are registered first, so that a bare name that mmseg has stays mmseg's.
import mmseg.datasets
import mmseg.engine
import mmseg.evaluation
import mmseg.models
import mmseg.visualization  # noqa: F401
from mmengine.registry import Registry
from mmseg.registry import DATASETS as MMSEG_DATASETS
from mmseg.registry import HOOKS as MMSEG_HOOKS
from mmseg.registry import LOOPS as MMSEG_LOOPS
from mmseg.registry import METRICS as MMSEG_METRICS
from mmseg.registry import MODELS as MMSEG_MODELS
from mmseg.registry import TRANSFORMS as MMSEG_TRANSFORMS
from mmseg.registry import VISUALIZERS as MMSEG_VISUALIZERS


class PluginRegistry(Registry):
    """A child registry that also offers its modules to its parent, whose own names stay.

    MMEngine looks names up from child to parent only, so that ordinary mmseg configs would have to
    write the scope in front of every part.
    """

    def _register_module(self, module, module_name=None, force=False) -> None:
        super()._register_module(module, module_name=module_name, force=force)
        names = module_name or module.__name__
        for name in [names] if isinstance(names, str) else names:
            if name not in self.parent.module_dict:
                self.parent._register_module(module, module_name=name)


def _child_of(parent: Registry, location: str) -> PluginRegistry:
    return PluginRegistry(parent.name, parent=parent, scope='code_mm', locations=[location])


MODELS = _child_of(MMSEG_MODELS, 'code_mm.models')
DATASETS = _child_of(MMSEG_DATASETS, 'code_mm.datasets')
TRANSFORMS = _child_of(MMSEG_TRANSFORMS, 'code_mm.datasets.transforms')
HOOKS = _child_of(MMSEG_HOOKS, 'code_mm.engine')
LOOPS = _child_of(MMSEG_LOOPS, 'code_mm.engine')
METRICS = _child_of(MMSEG_METRICS, 'code_mm.evaluation')
VISUALIZERS = _child_of(MMSEG_VISUALIZERS, 'code_mm.visualization')
# MMSegmentation has no registry for these.
TOKENIZERS = _child_of(Registry('tokenizer', scope='mmseg'), 'code_mm.tokenizers')
TAGGERS = _child_of(Registry('tagger', scope='mmseg'), 'code_mm.nouns.taggers')
