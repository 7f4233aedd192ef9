"""What a wheel holds, what it requires, and that MIM finds it."""

import ast
import email
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
MIM_ITEMS = (
    *('configs/_base_/default_runtime.py', 'tools/train.py', 'tools/test.py'),
    'projects/shapes_world/weights/small_clip_shapes.safetensors',
)


def requirements(name: str) -> list[str]:
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: a build folder inside the checkout would show MIM every config twice."""
    source, target = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('wheel')
    for name in ('code_mm', 'configs', 'projects', 'tools', 'requirements'):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'model-index.yml', 'LICENSE'):
        shutil.copy(ROOT / name, source / name)
    pip(['wheel', '--no-build-isolation', '-w', str(target), str(source)])
    (file,) = target.glob('code_mm-*-py3-none-any.whl')
    return file


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('site')
    pip(['install', '--target', str(folder), str(wheel)])
    return folder


def pip(arguments: list[str]) -> None:
    command, *rest = arguments
    subprocess.run(
        [sys.executable, '-m', 'pip', command, '--no-deps', '--no-index', '--quiet', *rest],
        check=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )


@pytest.mark.parametrize('folder', ['code_mm/.mim', '_code_mm_mim'])
def test_a_wheel_holds_configs_tools_and_index(wheel, folder):
    files = [*(ROOT / 'configs').rglob('*.py'), *(ROOT / 'projects').rglob('*.py')]
    expected = {str(path.relative_to(ROOT)) for path in files}
    expected |= {*MIM_ITEMS, 'tools/dist_train.sh', 'model-index.yml'}
    with zipfile.ZipFile(wheel) as archive:
        assert {f'{folder}/{item}' for item in expected} <= set(archive.namelist())


def test_nothing_of_torch_or_an_mm_stack_is_a_hard_requirement(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith('.dist-info/METADATA')]
        metadata = email.message_from_bytes(archive.read(name))
    assert metadata['Name'] == 'code_mm'
    lines = metadata.get_all('Requires-Dist')
    hard = [line for line in lines if 'extra ==' not in line]
    assert sorted(hard) == sorted(requirements('runtime'))
    assert not [line for line in hard if re.match(r'(onedl-)?(mm|torch)', line)]
    for extra in ('torch', 'mm'):
        soft = [line.split(';')[0] for line in lines if line.endswith(f'extra == "{extra}"')]
        assert soft == requirements(extra)


def test_every_import_of_the_package_is_required():
    imported = set()
    for path in (ROOT / 'code_mm').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.split('.')[0])
    extras = {'torch', 'mmengine', 'mmcv', 'mmseg', 'cv2', 'huggingface_hub'}  # cv2: mmcv's
    imported -= extras | {'code_mm'} | sys.stdlib_module_names
    required = {re.match(r'\w+', line)[0] for line in requirements('runtime')}
    required = {'PIL' if name == 'pillow' else name for name in required}
    assert imported <= required
    assert required - imported <= {'ftfy'}  # see the file


def test_mim_and_imports_find_an_installed_wheel(installed, tmp_path):
    """onedl-mim takes the first path of RECORD, openmim the package's .mim."""
    script = 'import code_mm, json, projects.tcl; from mim.utils import get_installed_path as get; '
    script += 'from code_mm.weights.sources import public_models as models; '
    script += 'config = models()["tcl_vit-b16"]["Config"]; '
    script += 'print(json.dumps([get("code_mm"), projects.tcl.__file__, config]))'
    output = subprocess.check_output(
        [sys.executable, '-c', script],
        env={**os.environ, 'PYTHONPATH': str(installed)},
        cwd=tmp_path,
        text=True,
        timeout=120,
    )
    path, project, config = json.loads(output.splitlines()[-1])
    folder = Path(path) / '.mim' if (Path(path) / '.mim').is_dir() else Path(path)
    assert all((folder / item).is_file() for item in MIM_ITEMS)
    assert project == str(installed / 'code_mm/.mim/projects/tcl/__init__.py')
    assert config == str(installed / 'code_mm/.mim/projects/tcl/configs/tcl_vit-b16_all.py')


def test_the_model_index_names_configs_that_exist():
    imported = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
    files = [yaml.safe_load((ROOT / path).read_text()) for path in imported]
    collections = {one['Name'] for file in files for one in file.get('Collections', [])}
    models = [model for file in files for model in file['Models']]
    assert {model.get('In Collection') for model in models} <= collections | {None}
    configs = [model['Config'] for model in models if 'Config' in model]
    assert len(configs) > 5 and not [path for path in configs if not (ROOT / path).is_file()]
