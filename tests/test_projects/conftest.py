"""A few images and captions of the shapes world, for all projects."""

import pytest
from training_free import make_world


@pytest.fixture(scope='session')
def shapes_folder(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp('shapes'))
