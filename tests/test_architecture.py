"""The shape of the source: one-way imports, shallow classes, no fixed device, nothing hidden."""

import ast
import importlib.util
import inspect
import pkgutil
from pathlib import Path

import pytest

import code_mm

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'code_mm'

FORBIDDEN_NAMES = ('utils', 'misc', 'common', 'helpers')
FORBIDDEN_CALLS = {'cuda', 'register_forward_hook', 'register_forward_pre_hook', 'print'}

# A module may import from its own folder and from the rows above; folders of one row never meet.
ROWS = (
    'version compatibility registry atomic_write text_file',
    'ops tokenizers structures',
    'vocabulary weights datasets.sample_ledger',
    'datasets.shards datasets.benchmarks models.backbones',
    'nouns models.prompts models.segmenters models.post_processing',
    'datasets.captions models.co_decomposition models.heads',
    'datasets.transforms models.losses',
    'datasets.preparation models.segmentors',
    'datasets',
    'evaluation visualization',
    'engine',
    'apis',
)
LEVELS = {name: level for level, row in enumerate(ROWS) for name in row.split()}
SOURCES = sorted(PACKAGE.rglob('*.py'))


by_file = pytest.mark.parametrize('path', SOURCES, ids=lambda path: str(path.relative_to(ROOT)))


def nodes_of(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


def part_of(module: str) -> str | None:
    """The key of LEVELS that a dotted module below code_mm belongs to."""
    first, second, *_ = [*module.split('.'), '']
    return next((key for key in (f'{first}.{second}', first) if key in LEVELS), None)


def imports_of(path: Path) -> set[str]:
    """Modules below code_mm that a file imports, without the leading 'code_mm.'."""
    package = '.'.join(path.relative_to(ROOT).parts[:-1])
    found = set()
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name('.' * node.level + (node.module or ''), package)
            # 'from . import x' names modules; 'from .x import y' names what is in one
            found |= {f'{base}.{alias.name}' for alias in node.names}
    return {name.removeprefix('code_mm.') for name in found if name.startswith('code_mm.')}


@by_file
def test_imports_go_one_way(path):
    module = '.'.join(path.relative_to(PACKAGE).with_suffix('').parts).removesuffix('.__init__')
    part = part_of(module)
    if part is None:
        assert path.name == '__init__.py', f'{module}: give it a place in ROWS'
        return  # code_mm/__init__.py and models/__init__.py only gather
    others = {name: part_of(name) for name in imports_of(path)}
    wrong = [n for n, p in others.items() if p not in (None, part) and LEVELS[p] >= LEVELS[part]]
    assert not wrong, f'{module} (level {LEVELS[part]}) must not import {wrong}'


@by_file
def test_no_fixed_device_no_hooks_no_print(path):
    nodes = nodes_of(path)
    functions = [node.func for node in nodes if isinstance(node, ast.Call)]
    names = {getattr(f, 'attr', getattr(f, 'id', '')): f.lineno for f in functions}
    assert not names.keys() & FORBIDDEN_CALLS, names
    constants = [node for node in nodes if isinstance(node, ast.Constant)]
    assert not [node.lineno for node in constants if node.value in ('cuda', 'cuda:0')]


def test_every_folder_is_a_package_and_none_has_room_for_everything():
    assert not [path for path in SOURCES if path.stem in FORBIDDEN_NAMES]
    folders = {path.parent for path in SOURCES}
    assert not [folder for folder in folders if not (folder / '__init__.py').is_file()]


def test_classes_are_at_most_two_levels_below_a_librarys():
    found = pkgutil.walk_packages(code_mm.__path__, 'code_mm.')
    modules = [importlib.import_module(module.name) for module in found]
    classes = {c for m in modules for _, c in inspect.getmembers(m, inspect.isclass)}

    def depth(kind: type) -> int:
        """Levels below a class of MMSegmentation, MMEngine or PyTorch; 0 for what is below none."""
        if not kind.__module__.startswith('code_mm'):
            return 0
        below = [depth(base) for base in kind.__bases__ if base is not object]
        return 1 + max(below) if below else 0

    deep = {c.__name__ for c in classes if c.__module__.startswith('code_mm') and depth(c) > 2}
    assert not deep
