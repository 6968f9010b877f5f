"""Hypothesis' profiles, the state of logging and the certificates, for every folder of tests that this repository has.

dev      the usual number of examples, at random
ci       the same ones each time; where CI is set
nightly  twenty times as many, at random, and each failure with what plays it again: --hypothesis-profile nightly

No profile has a deadline: how long an example takes says more of the machine than of the code.
"""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

USUAL = 100  # examples that hypothesis tries when a test says nothing

settings.register_profile("dev", deadline=None, database=None, max_examples=USUAL)
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True)
settings.register_profile(
    "nightly", settings.get_profile("dev"), max_examples=20 * USUAL, derandomize=False, print_blob=True
)
for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"):
    os.environ.pop(name, None)  # with one of them, each client reads the certificates again, which takes 20 ms
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(autouse=True)
def usual_logging() -> Iterator[None]:
    """Let no test see what another one, or a program that it ran, has set in logging."""
    loggers = [logging.getLogger(name) for name in ("unitask", "unitask_sandbox", "unitask_contract")]
    logging.disable(logging.NOTSET)
    for logger in loggers:
        logger.disabled, logger.propagate, logger.handlers = False, True, []
        logger.setLevel(logging.NOTSET)
    yield
    logging.disable(logging.NOTSET)
