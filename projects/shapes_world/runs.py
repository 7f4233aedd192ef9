"""What demo and study share: commands with logs, and the worlds they run on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_command(log: Path, *command: object, progress: bool = False, **variables: str) -> None:
    """Run a command from the project's root with all its output in ``log``.

    Args:
        log (Path): File that is added to.
        *command: The words.
        progress (bool): Print the lines of training and testing, too.
        **variables: Of the environment.

    Raises:
        RuntimeError: The command failed.
    """
    words = [str(word) for word in command]
    log.parent.mkdir(parents=True, exist_ok=True)
    keys = dict(cwd=ROOT, env={**os.environ, **variables}, text=True, stderr=subprocess.STDOUT)
    with log.open('a') as file, subprocess.Popen(words, stdout=subprocess.PIPE, **keys) as process:
        for line in process.stdout:
            file.write(line)
            file.flush()
            if progress and 'Iter(' in line:
                print('  ' + line[line.index('Iter(') :].rstrip()[:150], flush=True)
    if process.returncode:
        last = ''.join(log.read_text().splitlines(keepends=True)[-20:])
        raise RuntimeError(f'this command failed: {" ".join(words)}\n(all output: {log})\n{last}')


def make_world(folder: Path, log: Path, level: str, train: int, val: int) -> None:
    """Make a shapes world in a folder, unless it is there.

    Raises:
        SystemExit: Another one is.
    """
    wanted = dict(level=level, train=train, val=val)
    made_by = ROOT / folder / 'made_by.json'
    if made_by.exists():
        made = {key: json.loads(made_by.read_text())[key] for key in wanted}
        if made != wanted:
            raise SystemExit(
                f'{folder} holds another shapes world ({made}, expected {wanted}); remove it or '
                'choose another --data'
            )
        return
    options = [f'--{key}={value}' for key, value in wanted.items()]
    run_command(log, sys.executable, 'projects/shapes_world/make_world.py', folder, *options)
