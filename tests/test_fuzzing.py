"""A slice of ``make fuzz``; a failing case runs alone with tests/fuzzing.py --only --case."""

import fuzzing
import pytest


@pytest.mark.parametrize('kind', sorted(fuzzing.SEEDS))
def test_damaged_files_are_read_or_refused_in_a_sentence(kind):
    assert fuzzing.fuzz(kind, seed=0, cases=range(60)) == {}


def broken_reader(kind, path):
    data = path.read_bytes()
    if len(data) % 3 == 0:
        raise KeyError('an error without a word of help')
    if len(data) % 3 == 1:
        fuzzing.os._exit(7)


def test_raw_errors_and_crashes_are_found(monkeypatch):
    monkeypatch.setattr(fuzzing, 'read', broken_reader)
    wrong = fuzzing.fuzz('class_names', seed=0, cases=range(20))
    assert any('KeyError' in text for text in wrong.values())
    assert any('status 7' in text for text in wrong.values())
