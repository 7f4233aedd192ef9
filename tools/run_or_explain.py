"""How tools end: mistakes, full disks and folders that cannot be written, in one sentence."""

import errno
import sys
from pathlib import Path

_FREE = 'free some space there, or write to another folder'
_OTHER = 'choose a folder that you may write to'
CURES = {
    errno.ENOSPC: _FREE,
    errno.EDQUOT: _FREE,
    errno.EFBIG: 'raise the limit of file sizes (ulimit -f), or write to another file system',
    errno.EROFS: _OTHER,
    errno.EACCES: 'change its permissions, or choose another place',
    errno.EPERM: 'change its permissions, or choose another place',
    errno.EEXIST: 'a file stands where a folder is needed; move it, or choose another folder',
    errno.ENOTDIR: 'a file stands where a folder is needed; move it, or choose another folder',
}


def explain(error: Exception) -> str:
    """What went wrong, where, and what to do."""
    cure = isinstance(error, OSError) and CURES.get(error.errno)
    if not cure:
        return str(error)
    where = error.filename or 'a file that was being written'
    return f'{where}: {error.strerror}; {cure}'


def run_or_explain(main, mistakes: tuple = (ValueError, TypeError, OSError)) -> None:
    """Run a tool; a user's mistake ends it with one line and exit status 2, not a traceback."""
    try:
        status = main()
    except mistakes as error:
        # without a cure an OSError may have any cause: only a whole traceback tells
        if mistakes == (OSError,) and error.errno not in CURES:
            raise
        print(f'{Path(sys.argv[0]).name}: {explain(error)}', file=sys.stderr)
        status = 2
    if status:
        sys.exit(status)
