import hashlib

import pytest

from code_mm.vocabulary import ClassNameFile


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
    with pytest.raises(ValueError, match="a file with class names, but got 'sclip_voc'"):
        ClassNameFile.read('sclip_voc')
