"""Finding phone numbers.

Precision comes before recall: text is full of numbers, and an order number, a timestamp, a part of
a UUID or a version is no phone number.
"""

import re
from collections.abc import Iterator

_NUMBERS = re.compile(r"[0-9](?:[ ().\-/]{0,3}[0-9]){6,}")
_LONGEST_LEAD = 3  # "(+" and "(" before the first digit
_FREE = r"(?<![\w+.,:/-])"
_PHONE = re.compile(
    # +49 (0)30 123456, with the length that the plan of North America and Russia has
    r"(?<![\w+])\(?\+\)?(?:"
    r"1\)?[ ().\-/]{0,3}[2-9](?:[ ().\-/]{0,3}[0-9]){9}"
    r"|7\)?(?:[ ().\-/]{0,3}[0-9]){10}"
    r"|(?!28|83|89)[2-689][0-9]\)?(?:[ ().\-/]{0,3}[0-9]){7,13}"
    r")(?![0-9])"
    # 0049 30 123456
    rf"|{_FREE}00[1-9][0-9]{{0,2}}[ ().\-/]{{1,3}}[0-9](?:[ ().\-/]{{0,2}}[0-9]){{5,12}}(?![\w-])"
    # (415) 555-0132, 1-800-555-0199
    rf"|{_FREE}(?:1[ .-])?(?:\([2-9][0-9]{{2}}\)[ -]?[0-9]{{3}}[ .-]?[0-9]{{4}}"
    r"|[2-9][0-9]{2}[-.][0-9]{3}[-.][0-9]{4})(?![\w-]|\.[0-9])"
    # 030 1234567, 0151/12345678, 06 12 34 56 78, (020) 7946 0958: checked by `_is_national`
    rf"|{_FREE}(?<![0-9][0-9A-Fa-f] )(?P<national>\(?0[1-9][0-9]{{0,4}}\)?"
    r"(?:[ \-./]{1,2}[0-9]{2,8}){1,5})(?![\w-]|[.,/:][0-9])"
    # (11) 91234-5678
    rf"|{_FREE}\((?!19|20)[1-9][0-9]{{1,3}}\) ?[0-9]{{3,5}}[ -][0-9]{{4}}(?![\w-]|\.[0-9])"
)
_NAMED = re.compile(
    r"(?<![^\W_])(?:tele|cell|mobile)?[ _-]?(?:phones?|fon|foon|fax|mobile|mobil|handy|whatsapp|"
    r"tele?fon\w{0,2}|tel|t[eé]l[eé]?(?:phone|fono)?|m[oó]vil|celular|cellulare|call me (?:at|on))"
    r"(?:[ _-]?(?:number|nummer|no|nr|num))?[^\w(+]{0,4}(?:is|:)?[^\w(+]{0,3}\(?\+?\Z",
    re.IGNORECASE,
)
_NAME_MAX = 48
_AFTER_NAME = re.compile(r"[0-9](?:[ ().\-/]{0,3}[0-9]){6,14}(?![0-9A-Za-z])")
_DATE = re.compile(r"[0-9]{2}[-./ ][0-9]{2}[-./ ](?:19|20)[0-9]{2}(?![0-9])")
_NATIONAL_DIGITS = range(9, 13)


def phones(text: str) -> Iterator[tuple[int, int]]:
    """Yield where phone numbers stand: with "+" or "00", in a national form, or after their name.

    Bare digits are none, unless a word such as "phone" or "Tel." stands before them.
    """
    for run in _NUMBERS.finditer(text):
        done = start = run.start()
        if _NAMED.search(text, max(0, start - _NAME_MAX), start) and (
            number := _AFTER_NAME.match(text, start)
        ):
            done = number.end()
            yield start - (text[start - 1] == "+"), done
        for phone in _PHONE.finditer(text, max(done - _LONGEST_LEAD, 0), run.end() + 2):
            national = phone["national"]
            if phone.start() >= done - _LONGEST_LEAD and (not national or _is_national(national)):
                is_all = phone[0][0] == "(" and phone[0].count("(") > phone[0].count(")")
                yield phone.start() + is_all, phone.end()  # (030 123456): all that is in brackets


def _is_national(text: str) -> bool:
    groups = re.findall("[0-9]+", text)
    if sum(map(len, groups)) not in _NATIONAL_DIGITS or _DATE.match(text):
        return False
    lengths = [len(group) for group in groups]
    if {*lengths} == {2}:
        return len(groups) == 5  # noqa: PLR2004  (as in France; a longer row is a table)
    # no serial number as 0123-4567-8901, and no ZIP code as 02110-1301
    return {*lengths} != {4} and not (lengths == [5, 4] and "-" in text)
