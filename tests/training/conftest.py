"""What the tests of training share."""

import pytest


@pytest.fixture(scope="module")
def untaught():
    """A model with random weights, and its tokenizer."""
    from avsink.testing.untrained_omni import build_model, build_tokenizer

    tokenizer = build_tokenizer()
    return build_model(tokenizer, layers=8), tokenizer
