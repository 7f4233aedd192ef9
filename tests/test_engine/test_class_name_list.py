import pytest

from code_mm.engine.class_name_list import read_class_names
from code_mm.vocabulary import ClassNameFile


def test_a_list_a_file_or_nothing(tmp_path):
    assert read_class_names(None) == (None, None)
    assert read_class_names(('cat', 'dog|puppy')) == (['cat', 'dog|puppy'], None)
    path = tmp_path / 'names.txt'
    path.write_text('road\ncar|automobile\n')
    names, file = read_class_names(str(path))
    assert file == ClassNameFile.read(path)
    assert names == list(file.names) == ['road', 'car|automobile']


@pytest.mark.parametrize('names', [3, ['cat', 3], dict(cat=1)])
def test_anything_else_is_refused(names):
    with pytest.raises(TypeError, match='list of strings, or the name of a file'):
        read_class_names(names)
