"""The shape of the source: one-way imports, shallow classes, no fixed device, nothing hidden."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import code_mm

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'code_mm'

FORBIDDEN_NAMES = ('utils', 'misc', 'common', 'helpers')
FORBIDDEN_CALLS = ('cuda', 'register_forward_hook', 'register_forward_pre_hook', 'print')

# A module may import from its own folder and from lower levels; folders of one level never meet.
LEVELS = {
    'version': 0,
    'compatibility': 0,
    'registry': 0,
    'atomic_write': 0,
    'text_file': 0,
    'ops': 1,
    'tokenizers': 1,
    'structures': 1,
    'vocabulary': 2,
    'weights': 2,
    'datasets.sample_ledger': 2,
    'datasets.shards': 3,
    'datasets.benchmarks': 3,
    'nouns': 4,
    'datasets.captions': 5,
    'datasets.transforms': 6,
    'datasets.preparation': 7,
    'datasets': 8,
    'models.backbones': 3,
    'models.co_decomposition': 5,
    'models.prompts': 4,
    'models.segmenters': 4,
    'models.losses': 6,
    'models.post_processing': 4,
    'models.heads': 5,
    'models.segmentors': 7,
    'evaluation': 9,
    'visualization': 9,
    'engine': 10,
    'apis': 11,
}
SOURCES = sorted(PACKAGE.rglob('*.py'))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def part_of(module: str) -> str | None:
    """The key of LEVELS that a dotted module below code_mm belongs to."""
    names = module.split('.')
    for count in (2, 1):
        if '.'.join(names[:count]) in LEVELS:
            return '.'.join(names[:count])
    return None


def imports_of(path: Path) -> set[str]:
    """Modules below code_mm that a file imports, without the leading 'code_mm.'."""
    package = path.relative_to(ROOT).with_suffix('').parts[:-1]
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = '.'.join([*above, *([node.module] if node.module else [])])
            # 'from . import x' names modules; 'from .x import y' names what is in one
            found |= {f'{base}.{alias.name}' for alias in node.names}
    return {name.removeprefix('code_mm.') for name in found if name.startswith('code_mm.')}


def call_name(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, 'id', '')


@pytest.mark.parametrize('path', SOURCES, ids=name_of)
def test_imports_go_one_way(path):
    module = '.'.join(path.relative_to(PACKAGE).with_suffix('').parts).removesuffix('.__init__')
    part = part_of(module)
    if part is None:
        assert path.name == '__init__.py', f'{module}: give it a level in LEVELS'
        return  # code_mm/__init__.py and models/__init__.py only gather
    wrong = []
    for imported in imports_of(path):
        other = part_of(imported)
        if other not in (None, part) and LEVELS[other] >= LEVELS[part]:
            wrong.append(imported)
    assert not wrong, f'{module} (level {LEVELS[part]}) must not import {wrong}'


@pytest.mark.parametrize('path', SOURCES, ids=name_of)
def test_no_fixed_device_no_hooks_no_print(path):
    calls = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    found = [(call_name(c), c.lineno) for c in calls if call_name(c) in FORBIDDEN_CALLS]
    assert not found
    devices = [
        (node.value, node.lineno)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and node.value in ('cuda', 'cuda:0')
    ]
    assert not devices


def test_no_room_for_everything():
    assert not [name_of(path) for path in SOURCES if path.stem in FORBIDDEN_NAMES]


def test_every_folder_is_a_package():
    folders = {path.parent for path in SOURCES}
    assert not [name_of(folder) for folder in folders if not (folder / '__init__.py').is_file()]


def test_classes_are_at_most_two_levels_below_a_librarys():
    modules = [
        importlib.import_module(found.name)
        for found in pkgutil.walk_packages(code_mm.__path__, 'code_mm.')
    ]
    classes = {c for m in modules for _, c in inspect.getmembers(m, inspect.isclass)}

    def depth(kind: type) -> int:
        """Levels below a class of MMSegmentation, MMEngine or PyTorch; 0 for what is below none."""
        if not kind.__module__.startswith('code_mm'):
            return 0
        below = [depth(base) for base in kind.__bases__ if base is not object]
        return 1 + max(below) if below else 0

    deep = {c.__name__ for c in classes if c.__module__.startswith('code_mm') and depth(c) > 2}
    assert not deep
