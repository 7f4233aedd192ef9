import pytest

from code_mm.apis.run_settings import claim_folder


def test_a_folder_is_of_one_kind_of_run(tmp_path):
    folder = tmp_path / 'out'
    settings = dict(classes=('cat', 'hündchen'), threshold=None)
    claim_folder(folder, settings)
    claim_folder(folder, settings)
    other = dict(settings, classes=('cat',))
    with pytest.raises(ValueError, match=r"classes: \['cat', 'hündchen'\] there, \['cat'\] now"):
        claim_folder(folder, other)
    claim_folder(folder, other, overwrite=True)
    with pytest.raises(ValueError, match='--overwrite'):
        claim_folder(folder, settings)
