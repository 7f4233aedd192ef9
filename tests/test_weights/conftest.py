import pytest


@pytest.fixture
def logged(request, monkeypatch):
    """What is logged by the module that a test file names as ``LOGS``."""
    found = []
    module = request.module.LOGS
    monkeypatch.setattr(f'{module}.print_log', lambda text, **_: found.append(text))
    return found
