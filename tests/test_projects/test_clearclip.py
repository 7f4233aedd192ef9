"""projects/clearclip: evaluated by config and by plain formulas; CoDe starts from it."""

from training_free import check_miou, check_start_of_code


def last_block(block, x):
    """Queries attend to queries; nothing is added to what they gather."""
    query, _, value = block.projections(x)
    return block.output(block.weights_of(query, query), value)[1:]


def test_the_config_gives_the_miou_of_the_formulas(shapes_folder, tmp_path):
    check_miou('clearclip', shapes_folder, tmp_path, last_block)


def test_code_starts_from_these_features_and_trains(shapes_folder, tmp_path):
    learnt = {'query', 'value'}
    check_start_of_code('code_clearclip_shapes-hard', shapes_folder, tmp_path, last_block, learnt)
