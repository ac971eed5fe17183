"""Pictures of several kinds that have nothing in common, and pairs of one picture with other noise."""

import numpy as np

SIZES = (16, 24, 32, 48, 64, 96)
"""Pixels a side."""


def with_spectrum(size, random, exponent):
    """Noise whose amplitudes fall as 1/f to the power of the exponent, out of a larger, periodic picture."""
    frequencies = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(2 * size)]))
    frequencies[0, 0] = 1
    noise = np.fft.fft2(random.normal(size=(2 * size, 2 * size)))
    return np.fft.ifft2(noise / frequencies**exponent).real[:size, :size]


def smooth(size, random, sigma):
    """Noise under a Gaussian blur."""
    wider = size + 8 * sigma
    frequencies = np.fft.fftfreq(wider)
    blur = np.exp(-2 * (np.pi * sigma) ** 2 * np.add.outer(frequencies**2, frequencies**2))
    return np.fft.ifft2(np.fft.fft2(random.normal(size=(wider, wider))) * blur).real[:size, :size]


def atoms_at(places, heights, sigma, size):
    """Gaussians at places (n, 2) of so many heights."""
    profiles = np.exp(-((np.arange(size) - places[..., None]) ** 2) / (2 * sigma**2))
    return (profiles[:, 0] * heights[:, None]).T @ profiles[:, 1]


def at_random(size, random):
    """Atoms anywhere, of any height."""
    count = int((size + 20) ** 2 / random.uniform(20, 60))
    places = random.uniform(-10, size + 10, (count, 2))
    return atoms_at(places, random.uniform(0.3, 1, count), random.uniform(1, 2), size)


def on_a_lattice(size, random):
    """Atoms on a lattice of any spacing, angle and orientation; in half of the cases all are of one height."""
    spacing, ratio = random.uniform(4, 10), random.uniform(1, 1.5)
    angle, turned = random.uniform(np.pi / 3, np.pi / 2), random.uniform(0, 2 * np.pi)
    vectors = spacing * np.array(
        [[np.cos(turned), np.sin(turned)], [ratio * np.cos(turned + angle), ratio * np.sin(turned + angle)]]
    )
    steps = np.stack(np.meshgrid(*2 * [np.arange(-60, 61)]), -1).reshape(-1, 2)
    places = steps @ vectors + size / 2 + random.uniform(-5, 5, 2)
    places = places[(abs(places - size / 2) < size / 2 + 10).all(1)]
    heights = np.ones(len(places)) if random.random() < 0.5 else random.uniform(0.5, 1, len(places))
    return atoms_at(places, heights, random.uniform(0.16, 0.24) * spacing, size)


def streaks(size, random):
    """Noise that is blurred along x alone."""
    frequencies = np.fft.fftfreq(2 * size)
    blur = np.exp(-2 * (np.pi * 12 * frequencies) ** 2)
    return np.fft.ifft(np.fft.fft(random.normal(size=(size, 2 * size))) * blur).real[:, :size]


def few_spots(size, random):
    """Four atoms, and a little noise."""
    places = random.uniform(0, size, (4, 2))
    return atoms_at(places, random.uniform(0.5, 1, 4), 1.5, size) + 0.02 * random.normal(size=(size, size))


KINDS = {
    "white": lambda size, random: random.normal(size=(size, size)),
    "1/f": lambda size, random: with_spectrum(size, random, 1),
    "1/f²": lambda size, random: with_spectrum(size, random, 2),
    "smooth, 1 px": lambda size, random: smooth(size, random, 1),
    "smooth, 2 px": lambda size, random: smooth(size, random, 2),
    "smooth, 4 px": lambda size, random: smooth(size, random, 4),
    "smooth, 8 px": lambda size, random: smooth(size, random, 8),
    "atoms on a lattice": on_a_lattice,
    "atoms at random": at_random,
    "streaks": streaks,
    "few spots": few_spots,
}


def unrelated(kind, size, seed):
    """Two pictures of a kind that have nothing in common."""
    random = np.random.default_rng([seed, size, list(KINDS).index(kind)])
    return KINDS[kind](size, random), KINDS[kind](size, random)


def related(kind, size, seed, furthest=4):
    """Two views of one picture, each with its own white noise; and the shift of the second against the first.

    The noise is a twentieth to a half of what the picture holds.
    """
    random = np.random.default_rng([seed, size, list(KINDS).index(kind), 1])
    room = min(furthest, (size - 16) // 2)  # of so many pixels a side 16 must stay in common
    whole = KINDS[kind](size + 8, random)
    y, x = 4 + random.integers(-room, room + 1, 2)
    views = whole[4 : 4 + size, 4 : 4 + size], whole[y : y + size, x : x + size]
    noise = random.uniform(0.05, 0.5) * views[0].std()
    one, other = (view + noise * random.normal(size=view.shape) for view in views)
    return one, other, (4.0 - y, 4.0 - x)
