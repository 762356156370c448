"""What the search of the tests' whole log finds (conftest.py makes it when all tests have run)."""

import pytest

from tests.privacy import Suite


@pytest.fixture
def suite() -> Suite:
    """A suite that sent a key, a long id and a short one."""
    suite = Suite()
    suite.send({"user_aliases": [{"external_id": "jane@example.com", "alias_name": "j"}]}, "Bearer of-a-key")
    return suite


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "call", "user": "jane@example.com"}',
        '{"event": "no profile has jane@example.com", "level": "info"}',
        '{"event": "call", "user": {"name": ["j"]}}',
        '{"event": "j", "request_id": "1"}',
        "Traceback: KeyError: ('', 'jane@example.com')",
        '{"event": "call", "authorization": "Bearer of-a-key"}',
    ],
)
def test_a_value_in_a_line_is_found(suite: Suite, line: str) -> None:
    suite.write(line)
    assert suite.leaks()


def test_a_line_without_a_value_is_no_leak(suite: Suite) -> None:
    suite.write('{"event": "call", "method": "Alias", "code": "OK", "request_id": "4f1c", "seconds": 0.1}')
    assert suite.lines
    assert not suite.leaks()
