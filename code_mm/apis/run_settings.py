"""What the results in a folder were made with."""

from __future__ import annotations

import json
from pathlib import Path

FILE_NAME = 'settings.json'


def claim_folder(folder: str | Path, settings: dict, overwrite: bool = False) -> None:
    """Note down what results are made with, so that a later run goes on with the same only.

    Args:
        folder (str | Path): Of the results; made where it is not there.
        settings (dict): Plain values: classes, threshold, model.
        overwrite (bool): Results of other settings may be replaced.

    Raises:
        ValueError: The folder has results of other settings.
    """
    file = Path(folder) / FILE_NAME
    settings = json.loads(json.dumps(settings))  # as they will be read
    if file.is_file() and not overwrite:
        found = json.loads(file.read_text())
        other = [key for key in settings if found.get(key) != settings[key]]
        if other:
            changes = '; '.join(f'{k}: {found.get(k)} there, {settings[k]} now' for k in other)
            raise ValueError(
                f'{folder} has results made with other settings ({changes}); choose another '
                'folder, or --overwrite'
            )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + '\n')
