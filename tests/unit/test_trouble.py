"""What is said of writes that fail."""

from keyfold.app.trouble import LATELY, Trouble


def test_a_failure_is_told_of_until_a_write_succeeds_or_long_enough() -> None:
    now = [0.0]
    trouble = Trouble(lambda: now[0])
    assert trouble.why == ""
    trouble.failed(OSError())
    assert trouble.why == "OSError"
    trouble.over()
    assert trouble.why == ""
    trouble.failed(TimeoutError())
    now[0] = LATELY - 1
    assert trouble.why == "TimeoutError"
    now[0] = LATELY
    assert trouble.why == ""
