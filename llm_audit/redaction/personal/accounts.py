"""Finding the numbers of payment cards and bank accounts, by their check digits."""

import re
from collections.abc import Iterator
from functools import cache

SEPARATORS = str.maketrans("", "", " .-")

_CARD = re.compile(
    r"[0-9](?<![0-9A-Za-z].)(?<![0-9][.-].)(?:"
    r"[0-9]{12,18}"
    r"|[0-9]{3}(?P<by>[ .-]{1,3})[0-9]{4}(?P=by)[0-9]{4}(?P=by)[0-9]{4}(?:(?P=by)[0-9]{3})?"
    r"|[0-9]{3}(?P<by_six>[ .-]{1,3})[0-9]{6}(?P=by_six)[0-9]{4,5}"
    r")(?![0-9A-Za-z]|\.[0-9])"
)
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
# First digits from and to, and lengths: ISO/IEC 7812 and what the networks say of themselves.
_ISSUERS = (
    ("4", "4", {13, 16, 19}),  # Visa
    ("51", "55", {16}),  # Mastercard
    ("2221", "2720", {16}),
    ("34", "34", {15}),  # American Express
    ("37", "37", {15}),
    ("300", "305", {14, 16, 19}),  # Diners Club
    ("3095", "3095", {14, 16, 19}),
    ("36", "36", {14, 16, 19}),
    ("38", "39", {14, 16, 19}),
    ("3528", "3589", {16, 17, 18, 19}),  # JCB
    ("6011", "6011", {16, 19}),  # Discover
    ("644", "659", {16, 19}),
    ("62", "62", {16, 17, 18, 19}),  # UnionPay
    ("60", "60", {16}),  # RuPay
    ("81", "82", {16}),
    ("2200", "2204", {16, 17, 18, 19}),  # Mir
    ("50", "50", {16, 18, 19}),  # Maestro
    ("56", "58", {16, 18, 19}),
    ("63", "63", {16, 18, 19}),
    ("67", "67", {16, 18, 19}),
)


def cards(text: str) -> Iterator[tuple[int, int]]:
    """Yield where card numbers stand: of 13 to 19 digits, of a known network, with a right check.

    Digits in one row, or in groups as they are on cards.
    """
    for found in _CARD.finditer(text):
        start, end = found.span()
        if not _is_card(found[0]) and found["by"]:  # its first four groups, and another number
            end = start + 16 + 3 * len(found["by"])
        if _is_card(text[start:end]):
            yield start, end


def _is_card(text: str) -> bool:
    digits = text.translate(SEPARATORS)
    issued = any(
        first <= digits[: len(first)] <= last and len(digits) in lengths
        for first, last, lengths in _ISSUERS
    )
    return issued and _passes_luhn(digits)


def _passes_luhn(digits: str) -> bool:
    """Tell whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    numbers = [*map(int, reversed(digits))]
    return (sum(numbers[::2]) + sum(_DOUBLED[number] for number in numbers[1::2])) % 10 == 0


# Lengths by country: SWIFT's IBAN registry, release 99.
_IBAN_LENGTHS = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
_LENGTH_IN = {land: n for n, lands in _IBAN_LENGTHS.items() for land in lands.split()}
# It begins with the check digits, as letters are everywhere.
_CHECK_DIGITS = re.compile(r"[0-9](?<=[A-Za-z]{2}.)(?<![A-Za-z0-9].{3})[0-9]")


@cache
def _rest_of(characters: int) -> re.Pattern[str]:
    return re.compile(rf"(?:[ .-]?[A-Za-z0-9]){{{characters - 4}}}(?![A-Za-z0-9])")


def ibans(text: str) -> Iterator[tuple[int, int]]:
    """Yield where IBANs stand, in groups or not: of a country's length, with right check digits."""
    for found in _CHECK_DIGITS.finditer(text):
        start = found.start() - 2
        length = _LENGTH_IN.get(text[start : start + 2].upper())
        if length and (rest := _rest_of(length).match(text, found.end())):
            iban = text[start : rest.end()].translate(SEPARATORS)
            # ISO 13616, by ISO/IEC 7064's mod 97-10; base 36 makes "a" 10
            if int("".join(str(int(one, 36)) for one in iban[4:] + iban[:4])) % 97 == 1:
                yield start, rest.end()
