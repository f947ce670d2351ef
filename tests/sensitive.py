"""A search for secrets in whatever the package says, over the whole suite: logs, warnings, output, metrics, errors.

Wire it in with `pytest_plugins = ["sensitive"]` in tests/conftest.py. A run in which anything sensitive was said fails,
whatever its tests said.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
from typing import TYPE_CHECKING, Any

from stripe_cache.core.errors import StripeCacheError
from stripe_cache.meter import EmfMeter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from warnings import WarningMessage

    import pytest

SENSITIVE = re.compile(
    r"\b[sr]k_(?:test|live)_[A-Za-z0-9]{2,}"
    r"|\bwhsec_[A-Za-z0-9]{2,}"
    r"|_secret_[A-Za-z0-9]{6,}"
    r"|(?<![\w.])4(?:\d{15}|\d{3}(?: \d{4}){3})\b"
    r"|[a-z0-9.+-]+@example\.(?:com|org|net)",
    re.IGNORECASE,
)
"""API keys, webhook secrets, client secrets, card numbers, and the e-mail addresses that fixtures use."""

_MOST = 20


_listeners: list[Listener] = []


class Listener(logging.Handler):
    """Hears what the package says and keeps what is sensitive of it, with the test that was running."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: list[str] = []
        self.heard = 0
        self.test = ""

    def hear(self, where: str, text: str) -> None:
        """Search one text, unless a listener that came later is the one to hear it."""
        if _listeners and _listeners[-1] is not self:
            return
        self.heard += 1
        for match in SENSITIVE.finditer(text):
            self.found.append(f"{self.test}: {where}: {match.group()[:12]}...")

    def emit(self, record: logging.LogRecord) -> None:
        """Search a log record, its traceback and its extra fields included."""
        self.hear("log", f"{logging.Formatter().format(record)} {record.__dict__!r}")


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Listen to the package's loggers, to its errors as they are made, and to its metrics as they are written.

    Nested, the inner listener alone hears: that is how the search itself is tested.
    """
    package = logging.getLogger("stripe_cache")
    package.addHandler(listener)
    flush = EmfMeter.flush
    init = StripeCacheError.__dict__.get("__init__")

    def heard_init(error: StripeCacheError, *arguments: object) -> None:
        Exception.__init__(error, *arguments)
        listener.hear(type(error).__name__, " ".join(map(str, arguments)))

    def heard_flush(meter: EmfMeter) -> None:
        written = io.StringIO()
        with contextlib.redirect_stdout(written):
            flush(meter)
        listener.hear("metrics", written.getvalue())
        sys.stdout.write(written.getvalue())

    _listeners.append(listener)
    StripeCacheError.__init__ = heard_init  # type: ignore[method-assign,assignment]  # put back below
    EmfMeter.flush = heard_flush  # type: ignore[method-assign]  # as above
    try:
        yield
    finally:
        EmfMeter.flush = flush  # type: ignore[method-assign]  # the original
        if init is None:
            del StripeCacheError.__init__
        else:
            StripeCacheError.__init__ = init  # type: ignore[method-assign]  # the outer listener's
        _listeners.remove(listener)
        package.removeHandler(listener)


class Plugin:
    """Listens while pytest runs."""

    def __init__(self) -> None:
        self.listener = Listener()
        self._listening = listening(self.listener)

    def pytest_sessionstart(self) -> None:
        self._listening.__enter__()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.listener.test = nodeid

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Search what a passed test's code and workers printed; a failed one's report is for its author's eyes."""
        if report.passed and report.when == "teardown":
            for name, text in report.sections:
                if "stdout" in name or "stderr" in name:
                    self.listener.hear(name, text)

    def pytest_warning_recorded(self, warning_message: WarningMessage) -> None:
        self.listener.hear("warning", str(warning_message.message))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._listening.__exit__(None, None, None)
        if self.listener.found:
            session.exitstatus = 1

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        found = sorted(set(self.listener.found))
        if found:
            terminalreporter.section("SENSITIVE OUTPUT", red=True)
            for line in found[:_MOST]:
                terminalreporter.write_line(line)
        terminalreporter.write_line(f"searched {self.listener.heard} texts for secrets: {len(found)} found")


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin."""
    config.pluginmanager.register(Plugin(), "sensitive-output")
