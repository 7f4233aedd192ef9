"""Example images of the page: image file, words and caption."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHAPES = (16, 1, 4, 3)  # samples that show the demo's model from its good side
# photographs that come with gradio
PHOTOS = (
    ('tower.jpg', 'tower, sky, tree', 'a tower behind the branches of a tree'),
    ('lion.jpg', 'lion, rock, tree', 'a lion lies on a rock'),
    ('cheetah1.jpg', 'cheetah, grass, wall', 'the face of a cheetah before a brown wall'),
)


def shapes_examples(folder: Path) -> list[tuple[str, str, str]]:
    """Images of the shapes world, drawn here."""
    from PIL import Image

    sys.path.append(str(ROOT))
    from projects.shapes_world.world import ShapesWorld

    world, found = ShapesWorld('hard', size=256), []
    for index in SHAPES:
        sample, file = world.sample('page', index), folder / f'shapes_{index}.png'
        Image.fromarray(sample.image).save(file)
        nouns = dict.fromkeys((*sample.object_nouns, 'star', 'heart', 'boat'))
        found.append((str(file), ', '.join(list(nouns)[:5]), sample.caption.text))
    return found


def photo_examples() -> list[tuple[str, str, str]]:
    """Photographs; those that this release of gradio has."""
    import gradio

    folder = Path(gradio.__file__).parent / 'media_assets/images'
    return [(str(folder / name), *said) for name, *said in PHOTOS if (folder / name).is_file()]
