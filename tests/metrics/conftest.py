"""Runs a module's tests twice, with arrays of numpy and of torch, where it says `usefixtures("library")`."""

import both
import pytest


@pytest.fixture(scope="module", params=["numpy", "torch"])
def library(request):
    before, both.library = both.library, request.param
    yield request.param
    both.library = before
