"""What is kept for automatic retries: by whom it was asked for, for a while, within bounds."""

from __future__ import annotations

from gateway.coalescing.rules.retry_results import KEPT_MS, MOST_PROMISES, RetryResults

NOW = 1_800_000_000_000
ME, OTHER = ("key_1", "alone:k"), ("key_2", "alone:k")


def test_a_landing_is_found_by_who_asked_for_it_alone() -> None:
    retries: RetryResults[str] = RetryResults()
    retries.keep(ME, "picture", 10, NOW)

    assert retries.find(ME, NOW) == retries.find(ME, NOW + KEPT_MS - 1) == "picture"
    assert retries.find(ME, NOW + KEPT_MS) is None
    assert retries.find(OTHER, NOW) is None


def test_the_bytes_are_bounded_and_the_oldest_goes_first() -> None:
    retries: RetryResults[str] = RetryResults(most_bytes=100)
    for number in range(5):
        retries.keep(("key", str(number)), f"picture {number}", 40, NOW + number)

    assert retries.kept_bytes == 80
    assert [retries.find(("key", str(n)), NOW + 5) is not None for n in range(5)] == [
        False, False, False, True, True,
    ]  # fmt: skip


def test_what_is_too_large_alone_is_not_kept_and_drives_nothing_out() -> None:
    retries: RetryResults[str] = RetryResults(most_bytes=100)
    retries.keep(ME, "small", 40, NOW)
    retries.keep(OTHER, "large", 101, NOW)

    assert (retries.find(ME, NOW), retries.find(OTHER, NOW)) == ("small", None)


def test_a_later_landing_takes_the_place_of_the_one_before() -> None:
    retries: RetryResults[str] = RetryResults(most_bytes=100)
    retries.keep(ME, "first", 60, NOW)
    retries.keep(ME, "second", 60, NOW)

    assert (retries.find(ME, NOW), retries.kept_bytes) == ("second", 60)


def test_what_has_become_old_is_let_go_when_something_new_comes() -> None:
    retries: RetryResults[str] = RetryResults()
    retries.keep(ME, "old", 60, NOW)
    retries.keep(OTHER, "new", 1, NOW + KEPT_MS)

    assert retries.kept_bytes == 1


def test_who_was_told_to_ask_again_is_known_once() -> None:
    retries: RetryResults[str] = RetryResults()
    retries.promise(ME, NOW)

    assert [retries.was_promised(ME, NOW), retries.was_promised(ME, NOW)] == [True, False]
    retries.promise(ME, NOW)
    assert not retries.was_promised(ME, NOW + KEPT_MS)


def test_promises_are_bounded() -> None:
    retries: RetryResults[str] = RetryResults()
    for number in range(MOST_PROMISES + 1):
        retries.promise(("key", str(number)), NOW)

    assert not retries.was_promised(("key", "0"), NOW)
    assert retries.was_promised(("key", "1"), NOW)
