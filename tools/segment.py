"""Segments photos, folders and videos into classes that you name.

Writes overlays with legend (OUT/vis), label maps (OUT/pred, PNG whose values are labels, with
palette) and, with --json, masks in COCO's run-length encoding (OUT/json); of a video one file per
frame, and OUT/vis/NAME.mp4. A run that was stopped goes on where it was; --overwrite begins anew.

Example:
    python tools/segment.py photo.jpg --classes "cat, grey sofa" --out out/
"""

import argparse
import json
import sys
from pathlib import Path

from model_options import add_model_options, build_inferencer
from run_or_explain import run_or_explain

VIDEO_SUFFIXES = {'.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm'}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('inputs', nargs='+', help='images, videos, folders of these')
    add_model_options(parser)
    parser.add_argument('--out', default='segmented', help='folder for the results')
    parser.add_argument(
        '--background-threshold', type=float, help='score in (0, 1) that a class must reach'
    )
    parser.add_argument(
        '--background',
        action=argparse.BooleanOptionalAction,
        help='whether pixels that fit no class become background; default: as the config has it',
    )
    parser.add_argument('--json', action='store_true', help='write masks as COCO RLE, too')
    parser.add_argument('--opacity', type=float, default=0.6, help='of the colours, 0 to 1')
    parser.add_argument('--overwrite', action='store_true', help='do not keep earlier results')
    return parser.parse_args()


def claim_folder(folder: str, settings: dict, overwrite: bool) -> None:
    """Note down what results are made with; raises where the folder has those of other settings.

    ``settings`` are plain values: classes, threshold, model. With ``overwrite`` results of others
    may be replaced. A damaged note holds nobody up: every result says itself what it is of.
    """
    from code_mm.atomic_write import write_text

    file = Path(folder) / 'settings.json'
    settings = json.loads(json.dumps(settings))  # as they will be read
    try:
        found = json.loads(file.read_text('utf-8'))
    except (FileNotFoundError, ValueError):
        found = None
    if isinstance(found, dict) and not overwrite:
        other = [key for key in settings if found.get(key) != settings[key]]
        if other:
            changes = '; '.join(f'{k}: {found.get(k)} there, {settings[k]} now' for k in other)
            raise ValueError(
                f'{folder} has results made with other settings ({changes}); choose another '
                'folder, or --overwrite'
            )
    write_text(file, json.dumps(settings, indent=2, ensure_ascii=False) + '\n')


def split_inputs(inputs: list[str], failed: dict[str, str]) -> tuple[list, list]:
    """Images and videos, those of folders among them; ``failed`` takes up what is none."""
    from code_mm.apis.input_images import IMAGE_SUFFIXES, list_images, printable

    images, videos = [], []
    for path in map(Path, inputs):
        try:
            if not path.exists():
                raise FileNotFoundError(
                    f'expected an image, a video or a folder, not {printable(path)!r}'
                )
            if not path.is_dir():
                (videos if is_video(path) else images).append(path)
                continue
            found = [file for file in sorted(path.iterdir()) if is_video(file)]
            videos += found
            if not found or any(f.suffix.lower() in IMAGE_SUFFIXES for f in path.iterdir()):
                images += [image.source for image in list_images(path)]
        except (OSError, ValueError) as error:
            if len(inputs) == 1:
                raise
            failed[printable(path)] = str(error)
    if not images and not videos:
        raise ValueError(f'expected images or videos, but there is none: {failed}')
    return [list_images(found) if found else [] for found in (images, videos)]


def is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def segment(inferencer, query, args, folders, images, what: str, total: int, failed: dict):
    """Segment and write what is not done yet of images or frames; their shares."""
    from rich.progress import track

    done, video = [], what != 'images'

    def todo():
        for image in track(images, what, total):
            if not args.overwrite and folders.complete(image):
                done.append(image)
            else:
                yield image

    shares = []
    for result in inferencer.segment(todo(), query, args.batch_size, failed=failed):
        folders.write(result, result.overlay(args.opacity, whole_legend=video))
        shares.append(result.shares)
    if done:
        print(f'{len(done)} of {total} {what} were done already (--overwrite)')
    return shares


def segment_video(inferencer, query, args, folders, clip, failed: dict) -> list:
    """A label map and an overlay per frame, then a video of the overlays."""
    import mmcv

    from code_mm.apis.input_images import InputImage, UnreadableImage

    video = mmcv.VideoReader(str(clip.source))
    if clip.origin is None or not video.opened or not video.width:
        raise UnreadableImage('expected a video, but OpenCV cannot read it as one')
    joined = Path(args.out) / 'vis' / f'{clip.name}.mp4'
    joined.unlink(missing_ok=True)  # until its frames are all of this video
    read = 0

    def frames():
        nonlocal read
        for frame in video:
            origin = dict(clip.origin, frame=read)
            yield InputImage(f'{clip.name}/{read:06d}', frame, origin)
            read += 1

    what, before = f'frames of {clip.shown}', len(failed)
    shares = segment(inferencer, query, args, folders, frames(), what, video.frame_cnt, failed)
    if not read or len(failed) > before:
        raise UnreadableImage(f'expected frames that can be segmented, but not all {read} can')
    drop_frames(Path(args.out), clip.name, read)
    join_frames(joined, video.fps, read)
    print(f'video: {joined}')
    # a header without an index states an estimate
    if read < 0.98 * video.frame_cnt - 1:
        failed[clip.shown] = f'only {read} of its {video.frame_cnt} frames can be read'
    return shares


def drop_frames(out: Path, video: str, count: int) -> None:
    """Delete what an earlier, longer video of this name left."""
    for kind in ('vis', 'pred', 'json'):
        for file in (out / kind / video).glob('*.*'):
            if file.stem.isdigit() and int(file.stem) >= count:
                file.unlink()


def join_frames(joined: Path, fps: float, count: int) -> None:
    import mmcv

    from code_mm.atomic_write import atomic_write

    rate = fps if 0 < fps < 1000 else 25.0  # where the file does not say
    overlays = joined.with_suffix('')
    with atomic_write(joined, '.mp4') as unfinished:
        mmcv.frames2video(str(overlays), unfinished, rate, 'mp4v', end=count, show_progress=False)
        # OpenCV says nothing where the disk is full; atomic_write finds out
        if mmcv.VideoReader(unfinished).frame_cnt != count:
            raise ValueError(f'OpenCV could not write {joined}; the frames are in {overlays}')


def print_shares(shares: list, names) -> None:
    from rich import print as rich_print
    from rich.table import Table

    from code_mm.visualization.overlay import share_text

    if not shares:
        return
    table = Table('class', 'share of all pixels', 'images with it')
    for name in names:
        own = [one[name] for one in shares]
        found = sum(share > 0 for share in own)
        table.add_row(name, share_text(sum(own) / len(own)), f'{found} of {len(own)}')
    rich_print(table)


def main() -> int:
    args = parse_args()
    from code_mm.apis.input_images import UnreadableImage
    from code_mm.apis.results import ResultFolders

    shares, failed = [], {}
    images, videos = split_inputs(args.inputs, failed)
    inferencer = build_inferencer(
        args, background=args.background, background_threshold=args.background_threshold
    )
    query = inferencer.query()
    settings = dict(inferencer.settings(query), opacity=args.opacity)
    claim_folder(args.out, settings, args.overwrite)
    kinds = dict(json='json' if args.json else '', settings=settings)
    if images:
        folders = ResultFolders(args.out, **kinds)
        placed = (folders.place(image) for image in images)
        shares += segment(inferencer, query, args, folders, placed, 'images', len(images), failed)
    folders = ResultFolders(args.out, **kinds, vis_suffix='.jpg')
    for video in videos:
        try:
            clip = folders.place(video, '/000000')
            shares += segment_video(inferencer, query, args, folders, clip, failed)
        except UnreadableImage as error:
            failed[video.shown] = str(error)
    print_shares(shares, query.names)
    print(f'results: {args.out}')
    for name, reason in failed.items():
        print(f'not read: {name}: {reason}', file=sys.stderr)
    if failed:
        print(f'{len(failed)} inputs were not read; the others are done', file=sys.stderr)
    return 1 if failed else 0


if __name__ == '__main__':
    run_or_explain(main)
