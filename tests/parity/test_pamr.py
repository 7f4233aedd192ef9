"""Golden case 1: pixel-adaptive mask refinement."""

from code_mm.models.post_processing import PAMR

CASE = '01_pamr'


def test_on_the_image_grid(golden):
    entry, tensors = golden.case(CASE), golden.tensors(CASE)
    for name, arguments in entry['arguments'].items():
        pamr = PAMR(arguments['iters'], arguments['dilations'], grid='image')
        for mask, out in (('mask', 'out'), ('mask_samesize', 'out_samesize')):
            refined = pamr(tensors['image'], tensors[mask])
            golden.assert_close(refined, tensors[f'{name}.{out}'], entry, what=f'{name}.{out}')


def test_on_the_mask_grid_as_in_prediction(golden):
    """The method's own settings are PAMR's defaults."""
    tensors = golden.tensors(CASE)
    refined = PAMR()(tensors['image'], tensors['mask'])
    golden.assert_close(refined, tensors['apply_on_mask_grid'], CASE, what='apply_on_mask_grid')
