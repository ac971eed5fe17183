"""The errors a user can meet. Their text is printed as it is: it names the file, what is wrong, and the remedy."""

from pathlib import Path


class PtyconvError(Exception):
    """Something that only the user can put right; the base of all errors here."""


class CheckpointError(PtyconvError):
    """A checkpoint file that cannot be read, or lacks something; the message names the file and the dataset."""


class TooFew(PtyconvError):
    """Fewer than two checkpoints that can be compared: so many are `left`."""

    def __init__(self, message: str, left: int) -> None:
        self.left = left
        super().__init__(message)


class SeveralRuns(PtyconvError):
    """A `folder` holds files of `count` runs, and none was chosen. `listing`: which, on several lines."""

    def __init__(self, folder: Path, count: int, listing: str) -> None:
        self.folder, self.count, self.listing = folder, count, f"{folder}: {listing}"
        super().__init__(
            f"{self.listing}\n"
            "A change from one run to another means nothing. Choose a run by its number, such as\n"
            "--select 1, or move the files of the other runs to another folder."
        )
