"""Text that comes from files and folders, as it may be shown."""


def printable(text: str, keep: str = "") -> str:
    """Return text in which what would steer a terminal is shown as "?", but for the characters to `keep`."""
    return "".join(letter if letter.isprintable() or letter in keep else "?" for letter in text)
