"""The look that most documents pass by: what it does not see stays in the clear."""

import string

from properties import example, given, st

from llm_audit.redaction.secrets import look

LETTERS = st.sampled_from(f"{string.ascii_lowercase}{string.digits}\0\1\2 _-./:@+>%\n")


@given(st.sampled_from(look.LOOKS).flatmap(lambda one: st.from_regex(one, alphabet=LETTERS)))
@example(f"ACCA{'A7' * 8}")
def test_its_first_step_lets_nothing_by_that_its_second_would_find(text: str) -> None:
    """What begins as no piece of a secret does is none, wherever it stands."""
    raw = text.encode()
    assert look.holds_secret(look.plain(raw))
    assert look.may_be_in(raw)
    assert look.may_be_in(b"\2word\0" + raw + b" and the like" * 100)
