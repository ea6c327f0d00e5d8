"""Files that others read while a test writes them."""

import pathlib

from .waiting import DEADLINE, wait_until


def put(path, text):
    """Writes a file so that nobody ever sees half of it: the new one takes the old one's place."""
    fresh = pathlib.Path(f"{path}.new")
    fresh.write_text(text)
    fresh.rename(path)


def overwrite(path, text):
    """Writes another text of the same length into the same file, at once."""
    with open(path, "r+b", buffering=0) as file:
        assert len(text.encode()) == path.stat().st_size
        file.write(text.encode())


def wait_written(path):
    """Waits until a program has written a line into a file, and gives it."""
    return wait_until(lambda: path.exists() and path.read_text().endswith("\n") and path.read_text(), DEADLINE,
                      f"{path.name} is written").strip()
