"""projects/sclip: evaluated by config and by plain formulas; CoDe starts from it."""

from training_free import check_miou, check_start_of_code


def last_block(block, x):
    """The weights of queries with queries and of keys with keys, added."""
    query, key, value = block.projections(x)
    weights = block.weights_of(query, query) + block.weights_of(key, key)
    x = x + block.output(weights, value)
    return (x + block.feed_forward(x))[1:]


def test_the_config_gives_the_miou_of_the_formulas(shapes_folder, tmp_path):
    check_miou('sclip', shapes_folder, tmp_path, last_block)


def test_code_starts_from_these_features_and_trains(shapes_folder, tmp_path):
    learnt = {'query', 'key', 'value', 'feed_forward'}
    check_start_of_code('code_sclip_shapes-hard', shapes_folder, tmp_path, last_block, learnt)
