import hashlib

import pytest
from mmengine import Config
from mmseg.registry import DATASETS as MMSEG_DATASETS
from tiny_configs import CONFIGS

import code_mm.datasets  # noqa: F401
from code_mm.datasets.benchmarks.table import BENCHMARKS
from code_mm.vocabulary import ClassNameFile
from code_mm.vocabulary.class_name_file import SHIPPED

DATASETS = {name: known.dataset for name, known in BENCHMARKS.items()}


def test_a_class_a_line(tmp_path):
    path = tmp_path / 'names.txt'
    path.write_text('# of the zoo\ncat | kitten\n# big ones\ngrey sofa\n\n')
    file = ClassNameFile.read(path)
    assert file.names == ('cat|kitten', 'grey sofa')
    assert file.source == str(path)
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ('content', 'match'),
    [
        (b'cat\n\ndog\n', "line 2 of .* is ''"),
        (b'cat||dog\n', r"line 1 of .* is 'cat\|\|dog'"),
        (b'# nothing\n', 'but it has none'),
        (b'\xff\xfe\n', 'expected UTF-8|expected class names in UTF-8'),
    ],
)
def test_files_that_cannot_be_read(tmp_path, content, match):
    (tmp_path / 'names.txt').write_bytes(content)
    with pytest.raises(ValueError, match=match):
        ClassNameFile.read(tmp_path / 'names.txt')


def test_a_file_that_is_not_there():
    with pytest.raises(ValueError, match=r"or one of \[.*'sclip_voc21'.*\], but got 'sclip_voc'"):
        ClassNameFile.read('sclip_voc')


# Names by which both call a class, where a word that both share does not show it. Some are SCLIP's
# own slips of spelling, which change what CLIP is asked: they are kept.
OTHER_WORDS = {
    *(('boat', 'ship'), ('diningtable', 'table'), ('tvmonitor', 'television monitor')),
    *(('pedestal', 'base'), ('barrel', 'barrel'), ('television', 'televisionreceiver')),
    *(('signboard', 'signboard'), ('brand', 'tradename'), ('crt screen', 'crtscreen')),
}


@pytest.mark.parametrize('benchmark', DATASETS)
def test_the_order_is_that_of_the_labels(benchmark):
    """A line shares a word with mmseg's name of its class, but for OTHER_WORDS."""
    kind = MMSEG_DATASETS.get(DATASETS[benchmark])
    classes = kind.METAINFO['classes']
    names = ClassNameFile.read(f'sclip_{benchmark}').names
    assert len(names) == len(classes)
    different = [
        (own, name.split('|')[0])
        for own, name in zip(classes, names, strict=True)
        if not _letters(own) & {letters for n in name.split('|') for letters in _letters(n)}
    ]
    assert {pair for pair in different if pair[0] != 'background'} <= OTHER_WORDS


def _letters(name):
    joined = ''.join(c for c in name.lower() if c.isalnum())
    return {joined, *(word for word in name.lower().replace('-', ' ').split())}


def test_every_shipped_file_belongs_to_the_package():
    assert {path.stem for path in SHIPPED.glob('*.txt')} == {f'sclip_{b}' for b in DATASETS}
    cfg = Config.fromfile(CONFIGS / 'eval_sclip' / 'maskclip_vit-b16_all.py')
    used = {name: keys.class_names for name, keys in cfg.test_cfg.benchmarks.items()}
    assert used == {benchmark: f'sclip_{benchmark}' for benchmark in DATASETS}


def test_background_by_several_names():
    names = ClassNameFile.read('sclip_voc21').names
    assert names[0].startswith('sky|wall|tree|')
    assert len(names[0].split('|')) == 26
    assert ClassNameFile.read('sclip_coco_object').names[0] == names[0]
    assert names[20].split('|')[0] == 'television monitor'
    assert ClassNameFile.read('sclip_voc20').names == names[1:]
