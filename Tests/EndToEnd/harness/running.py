"""Small things for configurations of tests."""


def keep(config, items, kept):
    """Leaves only `kept` of the tests to be run."""
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def joining(closing, make):
    """A function that makes things which are closed with the test."""
    def join(*arguments, **options):
        made = make(*arguments, **options)
        closing.append(made)
        return made
    return join
