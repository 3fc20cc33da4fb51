import gc
import weakref

from msmm.training.run import Run


def test_a_run_that_is_no_longer_used_frees_its_tables_and_images(make_run):
    run = make_run()
    assert run.split("train") is run.split("train")
    images = run.images("train")
    assert run.images("train") is images
    assert run.train_rows.size
    used = [weakref.ref(x) for x in (run, run.split("train"), images)]
    del run, images
    gc.collect()
    assert [x() for x in used] == [None, None, None]


def test_discarded_images_are_freed_and_read_again(make_run):
    run = make_run()
    image = run.images("train").take([3])
    used = weakref.ref(run.images("train"))
    run.discard_images()
    gc.collect()
    assert used() is None
    assert (run.images("train").take([3]) == image).all()


def test_runs_cache_their_own_images(make_run):
    small, large = make_run(), make_run(image_size=64)
    assert small.images("train") is not large.images("train")
    assert large.images("train").take([0]).shape[1] == 64
    changed: Run = small.with_joint_parts()
    changed.discard_images()
    assert small.images("train").take([0]).shape[1] == 32
