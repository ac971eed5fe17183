"""What a verdict says. Plain values; the rules are in `ptyconv_cli.verdict`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SeriesVerdict:
    """The `state` of a series, its `reason` in a sentence, and the iteration `since` which it holds.

    Of a series that is improving: `half_life` in iterations, and the iteration at which it `reaches` a tenth of its
    peak, then the earliest and the latest that its scatter allows; None for what is far away or not known.
    """

    state: str
    reason: str
    since: int | None = None
    half_life: float | None = None
    reaches: tuple[int | None, int | None, int | None] | None = None


@dataclass(frozen=True)
class RunVerdict:
    """The verdict on a run: the `state` of its worst series, with its key and `reason`, and those on all `series`.

    `since`: the iteration since which it holds; of a run that has settled, since which the last series has. `remark`:
    what it could not go by, "" where it had all.
    """

    state: str
    worst: str
    reason: str
    since: int | None
    series: dict[str, SeriesVerdict]
    remark: str = ""
