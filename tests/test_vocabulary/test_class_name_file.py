import hashlib

import pytest

from code_mm.vocabulary import ClassNameFile


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16'])
def test_a_class_a_line(tmp_path, encoding):
    path = tmp_path / 'names.txt'
    text = '# of the zoo\r\ncat | kitten,\r\n\r\n # big ones\r\ngrey sofa,,\n\n'
    path.write_bytes(text.encode(encoding))
    file = ClassNameFile.read(path)
    assert file.names == ('cat|kitten', 'grey sofa')
    assert file.source == str(path)
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ('content', 'match'),
    [
        (b'cat||dog\n', r"line 1 of .* is 'cat\|\|dog'"),
        (b'# nothing\n', 'but it has none'),
        (b'\xff\xfd\n', 'expected class names in UTF-8'),
    ],
)
def test_files_that_cannot_be_read(tmp_path, content, match):
    (tmp_path / 'names.txt').write_bytes(content)
    with pytest.raises(ValueError, match=match):
        ClassNameFile.read(tmp_path / 'names.txt')


def test_a_file_that_is_not_there():
    with pytest.raises(ValueError, match="a file with class names, but got 'sclip_voc'"):
        ClassNameFile.read('sclip_voc')
