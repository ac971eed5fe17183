"""The errors a user can meet. Their text is meant to be read by people and is printed as it is."""

from pathlib import Path


class PtyconvError(Exception):
    """Something that only the user can put right: the message says what, where and how."""


class CheckpointError(PtyconvError):
    """A checkpoint file that cannot be read as what it should be: the message names the file and the dataset."""


class TooFew(PtyconvError):
    """Fewer than two checkpoints that can be compared."""


class SeveralRuns(PtyconvError):
    """A `folder` holds files of `count` runs, and none was chosen. `listing`: which, on several lines."""

    def __init__(self, folder: Path, count: int, listing: str) -> None:
        self.folder, self.count, self.listing = folder, count, f"{folder}: {listing}"
        super().__init__(
            f"{self.listing}\n"
            "No change from one run to another means anything. Choose a run with --select 1,\n"
            "or files by a pattern of names, such as --select 'model_iter00*'."
        )
