TAGS = ()


def sample(rng, kind, visible):
    return ()
