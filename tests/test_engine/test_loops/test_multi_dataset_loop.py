import pytest
import torch


def expected(small, shift=0):
    sea = small.metrics(small.names['sea'], 3, seed=0, shift=shift)
    land = small.metrics(small.names['land'], 5, seed=1, shift=shift)
    return sea, land


def test_scores_are_those_counted_by_hand_and_their_mean(small):
    """And hooks see one epoch over all batches."""
    runner, seen = small.runner(small.config())
    metrics = runner.test()
    sea, land = expected(small)
    for name, values in (('sea', sea), ('land', land)):
        for key, value in values.items():
            assert metrics[f'{name}/{key}'] == pytest.approx(value, abs=0.006)
            assert metrics[f'mean/{key}'] == pytest.approx((sea[key] + land[key]) / 2, abs=0.006)
    assert 0 < sea['mIoU'] != land['mIoU']
    assert seen.metrics == [metrics]
    assert seen.calls == [
        'before_test_epoch',
        'before sea',
        *[(i, 6) for i in range(3)],
        "after sea: ['aAcc', 'mAcc', 'mIoU']",
        'before land',
        *[(i, 6) for i in range(3, 6)],  # batches of two
        "after land: ['aAcc', 'mAcc', 'mIoU']",
        'after_test_epoch',
    ]


def test_the_model_is_told_names_and_threshold_of_each(small):
    cfg = small.config(model__threshold=0.7, custom_hooks=[dict(type='ClassNamesHook')])
    cfg.test_cfg.benchmarks.sea.pop('background_threshold')
    cfg.test_cfg.benchmarks.again = dict(
        dataset=dict(type='Tiny', names=['a', 'b', 'c'], count=1),
        background_threshold=0.3,
        class_names=['background', 'tree|oak', 'star'],
    )
    runner, _ = small.runner(cfg)
    runner.test()
    assert runner.model.told == [
        (['background', 'boat'], 0.7),  # the model's own
        (['tree', 'house', 'star'], None),
        (['background', 'tree|oak', 'star'], 0.3),
    ]
    assert runner.model.background_threshold == 0.7  # as it was before


def test_class_names_of_a_file_and_scores_of_names(small, tmp_path):
    (tmp_path / 'land.txt').write_text('tree|oak\nhouse\nstar\n')
    cfg = small.config()
    cfg.test_cfg.benchmarks.land.class_names = str(tmp_path / 'land.txt')
    cfg.test_cfg.benchmarks.sea.name_scores = dict(scale=3.0)
    cfg.test_cfg.benchmarks.again = cfg.test_cfg.benchmarks.land.copy()
    runner, _ = small.runner(cfg)
    head, seen = runner.model.decode_head, []
    head.name_scores = 'its own'
    runner.model.set_name_scores = lambda value: setattr(head, 'name_scores', value)
    told = runner.model.set_class_names
    runner.model.set_class_names = lambda names: (seen.append(head.name_scores), told(names))
    runner.test()
    assert [names for names, _ in runner.model.told][1:] == [['tree|oak', 'house', 'star']] * 2
    assert seen == [dict(scale=3.0), 'its own', 'its own']
    assert head.name_scores == 'its own'
    with pytest.raises(ValueError, match='the path of a file with class names'):
        cfg.test_cfg.benchmarks.land.class_names = 'nowhere.txt'
        small.runner(cfg)[0].test()


def test_a_choice_of_benchmarks_in_its_order(small):
    land = small.config().test_cfg.benchmarks.land
    cfg = small.config(test_cfg__only=['again', 'sea'], test_cfg__benchmarks__again=land)
    names = [k.split('/')[0] for k in small.runner(cfg)[0].test()]
    assert list(dict.fromkeys(names)) == ['again', 'sea', 'mean']


def test_label_maps_go_to_a_folder_each(small, tmp_path):
    cfg = small.config(test_evaluator__output_dir=str(tmp_path / 'out'))
    small.runner(cfg)[0].test()
    files = sorted(str(p.relative_to(tmp_path / 'out')) for p in (tmp_path / 'out').rglob('*.png'))
    assert files == [f'land/{i}.png' for i in range(5)] + [f'sea/{i}.png' for i in range(3)]


def training(small, **keys):
    cfg = small.config(
        'val',
        train_dataloader=dict(
            batch_size=1,
            num_workers=0,
            sampler=dict(type='InfiniteSampler', shuffle=False),
            dataset=dict(type='Tiny', names=['a', 'b'], count=4),
        ),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=4, val_interval=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05)),
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook', by_epoch=False, interval=1, save_best='mean/mIoU'
            ),
            plain_checkpoint=dict(type='PlainCheckpointHook'),
        ),
        **keys,
    )
    return small.runner(cfg)


def test_the_best_checkpoint_by_the_mean_and_resuming(small, tmp_path):
    """TellTale's shift moves, so its scores go up and down."""
    runner, seen = training(small, train_cfg__max_iters=2)
    runner.train()
    runner, later = training(small, resume=True)
    runner.train()
    means = [metrics['mean/mIoU'] for metrics in (*seen.metrics, *later.metrics)]
    assert len(means) == 4
    assert len(set(means)) > 1
    best = 1 + max(range(4), key=lambda i: (means[i], -i))
    (file,) = tmp_path.glob('best_*.pth')
    assert file.name == f'best_mean_mIoU_iter_{best}.pth'
    state = torch.load(file, weights_only=False)['state_dict']
    shift = round(state['shift'].item() * 10)
    sea, land = expected(small, shift)
    assert means[best - 1] == pytest.approx((sea['mIoU'] + land['mIoU']) / 2, abs=0.006)


def test_names_for_all_data_sets_at_once_are_refused(small):
    hook = dict(type='ClassNamesHook', class_names=['cat', 'dog'])
    runner, _ = small.runner(small.config(custom_hooks=[hook]))
    with pytest.raises(ValueError, match=r'no class_names in ClassNamesHook.*single benchmarks'):
        runner.test()


def test_missing_data_is_named_before_anything_runs(small):
    cfg = small.config()
    cfg.test_cfg.benchmarks.land.dataset = dict(
        type='CityscapesDataset', data_root='nowhere', data_prefix=dict(img_path='x'), pipeline=[]
    )
    runner, seen = small.runner(cfg)
    with pytest.raises(
        RuntimeError, match=r"benchmark 'land' in 'nowhere', but got FileNot.*only=\["
    ):
        runner.test()
    cfg = small.config(test_cfg__benchmarks__sea__dataset__count=0)
    with pytest.raises(RuntimeError, match=r"benchmark 'sea' in .*, but got no image"):
        small.runner(cfg)[0].test()
    assert seen.calls == []


def run_small(folder, options):
    from mmengine.runner import Runner

    import code_mm  # noqa: F401

    conftest = load_conftest()
    cfg = conftest.config(folder, **options)
    cfg.launcher = 'pytorch'
    return dict(Runner.from_cfg(cfg).test())


def load_conftest():
    import importlib.util
    from pathlib import Path

    spec = importlib.util.spec_from_file_location(
        'loops_conftest', Path(__file__).with_name('conftest.py')
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_processes_measure_what_one_does(small, tmp_path, run_in_two_processes):
    """Of an uneven split, and of fewer images than processes."""
    options = dict(
        test_cfg__benchmarks__sea__dataset__count=3,
        test_cfg__benchmarks__land__dataset__count=1,
    )
    alone = dict(small.runner(small.config(**options))[0].test())
    first, second = run_in_two_processes(run_small, tmp_path / 'two', options)
    assert first == second == alone
