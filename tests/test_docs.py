"""The snippets of docs/parts.md are run: every part they name is built."""

import re
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, HOOKS, METRICS, MODELS

ROOT = Path(__file__).parents[1]
SNIPPETS = re.findall(r'```python\n(.*?)```', (ROOT / 'docs' / 'parts.md').read_text(), re.DOTALL)


@pytest.mark.parametrize('number', range(len(SNIPPETS)))
def test_snippet_builds(number):
    init_default_scope('mmseg')
    config = Config.fromstring(SNIPPETS[number], '.py')
    built = []
    if 'model' in config:
        built.append(MODELS.build(config.model))
    if 'dataset' in config:
        built.append(DATASETS.build(config.dataset))
    built += [HOOKS.build(hook) for hook in config.get('hooks', [])]
    built += [METRICS.build(metric) for metric in config.get('metrics', [])]
    assert built or 'custom_imports' in config
    assert all(part is not None for part in built)


@pytest.mark.parametrize(
    'page',
    [
        *sorted((ROOT / 'docs').glob('*.md')),
        *sorted((ROOT / 'projects').rglob('README.md')),
        ROOT / 'README.md',
    ],
)
def test_links_lead_somewhere(page):
    links = re.findall(r'\]\((?!https?:|#)([^)#]+)', page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing
