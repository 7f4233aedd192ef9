import errno

import pytest
from run_or_explain import run_or_explain


def failing(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    'error, sentence',
    [
        (ValueError('expected a, but got b'), 'expected a, but got b'),
        (
            OSError(errno.ENOSPC, 'No space left on device', 'out/a.png'),
            'out/a.png: No space left on device; free some space there, or write to another folder',
        ),
        (
            OSError(errno.EROFS, 'Read-only file system', 'out'),
            'out: Read-only file system; choose a folder that you may write to',
        ),
        (FileNotFoundError('expected a file'), 'expected a file'),
    ],
)
def test_one_sentence_and_status_2(monkeypatch, capsys, error, sentence):
    monkeypatch.setattr('sys.argv', ['tools/a.py'])
    with pytest.raises(SystemExit, match='2'):
        run_or_explain(failing(error))
    assert capsys.readouterr().err == f'a.py: {sentence}\n'


def test_a_training_says_where_it_broke_unless_the_disk_did():
    full = OSError(errno.ENOSPC, 'No space left on device')
    with pytest.raises(SystemExit):
        run_or_explain(failing(full), (OSError,))
    for error in (ValueError('a'), ConnectionResetError('a'), FileNotFoundError('a')):
        with pytest.raises(type(error)):
            run_or_explain(failing(error), (OSError,))


def test_the_status_is_mains():
    run_or_explain(lambda: None)
    run_or_explain(lambda: 0)
    with pytest.raises(SystemExit, match='1'):
        run_or_explain(lambda: 1)
