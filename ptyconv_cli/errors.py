"""The errors a user can meet. Their text is meant to be read by people and is printed as it is."""


class PtyconvError(Exception):
    """Something that only the user can put right: the message says what, where and how."""


class CheckpointError(PtyconvError):
    """A checkpoint file that cannot be read as what it should be: the message names the file and the dataset."""
