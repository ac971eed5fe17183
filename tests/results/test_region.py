"""The scanned region."""

import numpy as np

from ptyconv_cli.results.run_analysis import scanned_region


def test_region_is_spanned_by_the_probe_centres():
    crop_pos = np.array([[4, 5], [9, 7], [6, 12]], dtype=np.int32)
    # Centres (7..12, 9..16) for a probe of 7 × 9 px: half sizes are 3 and 4.
    assert scanned_region(crop_pos, (7, 9)) == (6, 12, 8, 16)


def test_region_is_clamped_at_the_object_edge():
    assert scanned_region(np.array([[0, 0], [5, 6]]), (1, 1)) == (0, 5, 0, 6)
