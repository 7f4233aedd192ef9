"""Golden tensors of the authors' release, as the fixture ``golden``.

Its ``index.json`` is the only source of shapes, names, constants, strings and tolerances, so that
another folder of the same form runs through the same tests.
"""

import json
import os
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

ENVIRONMENT_KEY = 'CODE_MM_GOLDEN'
DEFAULT_FOLDER = Path(__file__).parents[2] / '..' / 'shared' / 'golden' / 'A'


class Golden:
    """Reads one golden folder.

    Entries are the dicts of ``index['files']``; wherever an entry is expected,
    its file name or a unique beginning of it (``'01_pamr'``) will do.
    """

    def __init__(self, folder):
        self.folder = Path(folder).resolve()
        self.index = json.loads((self.folder / 'index.json').read_text())

    def path(self, name):
        """The file `name` of the folder; skips the test where it is absent."""
        path = self.folder / name
        if not path.exists():
            pytest.skip(f'golden file {path} is absent')
        return path

    def case(self, name):
        """The index entry of the file `name` (or of the one file that begins so)."""
        if isinstance(name, dict):
            return name
        found = [entry for entry in self.index['files'] if entry['file'].startswith(name)]
        if not found:
            pytest.skip(f'golden index {self.folder / "index.json"} has no file "{name}*"')
        (entry,) = found
        return entry

    @property
    def release(self):
        """The path of the release's checkpoint."""
        return str(self.path(self.case('reference_checkpoint')['file']))

    def tensors(self, entry, below=''):
        """Tensors of an entry by what follows ``below`` in their names, freshly read."""
        tensors = load_file(self.path(self.case(entry)['file']))
        return {k.removeprefix(below): v for k, v in tensors.items() if k.startswith(below)}

    def tolerance(self, entry, kind=None):
        """The tolerance dict of an entry; `kind` picks "loss", "grad", ... of a nested one."""
        tolerance = self.case(entry)['tolerance']
        nested = all(isinstance(v, (dict, str)) for v in tolerance.values())
        return tolerance[kind] if nested else tolerance

    def assert_close(self, actual, expected, entry, kind=None, what=''):
        """Asserts two tensors (or numbers) equal within the entry's own tolerance."""
        tolerance = self.tolerance(entry, kind)
        actual, expected = (torch.as_tensor(x).detach().cpu() for x in (actual, expected))
        assert actual.shape == expected.shape, f'{what}: {actual.shape} != {expected.shape}'
        if tolerance.get('exact'):
            assert torch.equal(actual, expected.to(actual.dtype)), f'{what} is not exactly equal'
            return
        actual, expected = actual.double(), expected.double()
        if 'rel_l2_per_tensor' in tolerance:
            norm, error = expected.norm(), (actual - expected).norm()
            # A gradient that is exactly zero in the reference has no relative error.
            limit = tolerance['rel_l2_per_tensor'] * norm if norm > 0 else 1e-7
            assert error <= limit, f'{what}: L2 error {error:.3g} > {limit:.3g} (norm {norm:.3g})'
            if 'cosine_min' in tolerance and norm > 0:
                cosine = (actual * expected).sum() / (actual.norm() * norm)
                assert cosine >= tolerance['cosine_min'], f'{what}: cosine {cosine:.7f}'
            return
        limits = {key: tolerance[key] for key in ('atol', 'rtol')}
        torch.testing.assert_close(actual, expected, **limits, msg=lambda m: f'{what}: {m}')

    def assert_labels(self, actual, expected, scores, entry, kind='label'):
        """Asserts label maps [..., h, w] equal wherever the reference is not undecided.

        That is where its two largest scores [..., classes, h, w] lie closer than a gap, which
        the entry's tolerance text names.
        """
        gap = float(re.search(r'<\s*([0-9.]+(?:e-?[0-9]+)?)', self.tolerance(entry, kind)).group(1))
        top = scores.topk(2, dim=-3).values
        decided = top.select(-3, 0) - top.select(-3, 1) >= gap
        wrong = (actual != expected) & decided
        assert not wrong.any(), f'{int(wrong.sum())} of {int(decided.sum())} decided labels differ'


@pytest.fixture(scope='session')
def golden():
    """The golden folder; the test is skipped, with the reason, where it is absent."""
    folder = Path(os.environ.get(ENVIRONMENT_KEY, DEFAULT_FOLDER))
    if not (folder / 'index.json').exists():
        pytest.skip(f'no golden data in {folder.resolve()}; name its folder in {ENVIRONMENT_KEY}')
    return Golden(folder)
