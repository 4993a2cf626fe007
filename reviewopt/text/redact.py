"""Personal data out of the prompt's copy: e-mail addresses, phone numbers, payment cards and bank accounts.

Called by `prompt_copy.py`, only where the user asks for it. It knows forms, not people: names and addresses stay. A
number is masked where its form says what it is. So prices, dates, ratings, quantities and model numbers stay, and a
bare run of digits is a phone number only after a word that says so.
"""

from __future__ import annotations

import re
from typing import Final

import polars as pl

# Latin letters beyond ASCII in the name; the domain as it is written in the domain name system.
_EMAIL: Final = r"[A-Za-z0-9À-ɏ._%+'-]*[A-Za-z0-9À-ɏ_+-]@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,24}"
# Rows worth a closer look: seven digits that hang together, or the beginning of an account.
_CANDIDATE: Final = r"[0-9](?:[ ().+/\-]{0,3}[0-9]){6}|[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4}"

# 13 to 19 digits in the groups that cards print (ISO/IEC 7812), with the beginnings of payment cards: years begin with
# 19 and 20, books with 9.
_CARD: Final = re.compile(
    r"""(?<![\w$€£¥.,-])(?:
      (?:2[2-7]|[3-6]\d)\d\d(?:[ -]?\d{4}){2}(?:[ -]?\d{1,4}){1,2}
    | 3\d{3}[ -]?\d{6}[ -]?\d{4,5}
    )(?!\w)""",
    re.ASCII | re.VERBOSE,
)
_ACCOUNT: Final = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?!\w)", re.ASCII)
# Characters of an account by country (IBAN registry of ISO 13616, the larger countries).
_ACCOUNT_CHARS: Final = (
    "AE23 AT20 BE16 BG22 BR29 CH21 CY28 CZ24 DE22 DK18 EE20 EG29 ES24 FI18 FR27 GB22 GR27 HR21 HU28 IE22 IL23 IS26 "
    "IT27 JO30 KW30 KZ20 LB28 LI21 LT20 LU20 LV21 MC27 MT31 NL18 NO15 PK24 PL28 PT25 QA29 RO24 RS22 SA24 SE24 SI19 "
    "SK24 TN24 TR26 UA29"
)
_PHONE: Final = re.compile(
    r"""(?<![\w+$€£¥.,/-])(?:
      (?:\+?1[ .-]?)?\([2-9]\d{2}\)[ .-]?\d{3}[ .-]?\d{4}           # (555) 123-4567
    | \+1[ .-]?[2-9]\d{2}[ .-]?\d{3}[ .-]?\d{4}                     # +1 555 123 4567
    | (?:1[.-])?[2-9]\d{2}(?P<a>[.-])\d{3}(?P=a)\d{4}               # 555-123-4567, 1-800-555-1234
    | (?:\+|00)[1-9](?:[ .-]?[(]?\d[)]?){8,13}                      # +49 (0)30 1234567, 0044 20 7946 0958
    | 0\d(?P<b>[ .-])\d\d(?:(?P=b)\d\d){3}                          # 01 23 45 67 89
    | 0\d{2,4}[ /-]\d{3,4}[ -]?\d{3,5}                              # 0171 2345678, 090-1234-5678
    | 0\d-\d{4}-\d{4}                                               # 03-1234-5678
    | 0\d[ -]\d{7,8}                                               # 06 12345678
    | 1[3-9]\d(?P<c>[ -]?)\d{4}(?P=c)\d{4}                          # 138 1234 5678
    )(?![\w]|[./-]\d)""",
    re.ASCII | re.VERBOSE,
)
# Numbers that are phone numbers only where the words before say so.
_BARE: Final = re.compile(
    r"(?<![\w+$€£¥.,/-])(?:\d{9,12}|\d{3}-\d{4}|[6-9]\d{4}[ -]\d{5}|\d{3} \d{3} \d{3,4})(?!\w|[./-]\d)", re.ASCII
)
_CUE_CHARS: Final = 40
_CUE: Final = re.compile(
    r"""(?:\b(?:tel|telephone|phone|mobile|cell|call|ring|fax|whatsapp|contact|telefon|handy|rufnummer|téléphone|portable|
    teléfono|móvil|celular|telefone|telemóvel|telefono|cellulare|telefoon|тел|телефон)\b|电话|電話|手机|手機|携帯)
    (?:[ .:,#-]|号码|番号|是|は|me\b|us\b|at\b|no\b|number\b|is\b|nummer\b){0,9}$""",
    re.IGNORECASE | re.VERBOSE,
)


def redacted(text: pl.Series) -> pl.Series:
    """Write [email], [phone], [card] and [iban] in the place of each, String (n,).

    A card is masked where its check digit is right (Luhn, ISO/IEC 7812-1), which is so for one in ten other numbers of
    its form too; an account where its check is right (ISO 13616).

    Args:
        text: String (n,), without nulls.
    """
    mailed = text.str.contains("@", literal=True).arg_true()
    if len(mailed):
        text = text.scatter(mailed, text.gather(mailed).str.replace_all(_EMAIL, "[email]"))
    numbered = text.str.contains(_CANDIDATE).arg_true()
    if len(numbered):
        masked = [_masked(row) for row in text.gather(numbered)]
        text = text.scatter(numbered, pl.Series(masked, dtype=pl.String))
    return text


def _masked(text: str) -> str:
    text = _CARD.sub(_card_masked, _ACCOUNT.sub(_account_masked, text))
    return _BARE.sub(_bare_masked, _PHONE.sub("[phone]", text))


def _card_masked(found: re.Match[str]) -> str:
    """Mask the longest beginning whose check digit is right; what follows a space or hyphen can be another number."""
    digits = found[0]
    for end in (len(digits), *(at for at in range(len(digits) - 1, 12, -1) if digits[at] in " -")):
        if _is_card(digits[:end].replace(" ", "").replace("-", "")):
            return f"[card]{digits[end:]}"
    return digits


def _bare_masked(found: re.Match[str]) -> str:
    start = found.start()
    return "[phone]" if _CUE.search(found.string[max(0, start - _CUE_CHARS) : start]) else found[0]


def _is_card(number: str) -> bool:
    if not 13 <= len(number) <= 19:
        return False
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in number[-2::-2])
    return (doubled + sum(map(int, number[::-2]))) % 10 == 0


def _account_masked(found: re.Match[str]) -> str:
    """Mask as many characters as an account of its country has, where their check is right."""
    country = _ACCOUNT_CHARS.find(found[0][:2])
    if country < 0:
        return found[0]
    n_chars = int(_ACCOUNT_CHARS[country + 2 : country + 4])
    places = [at for at, character in enumerate(found[0]) if character != " "][:n_chars]
    number = "".join(found[0][at] for at in (*places[4:], *places[:4]))
    is_account = len(places) == n_chars and int("".join(str(int(character, 36)) for character in number)) % 97 == 1
    return f"[iban]{found[0][places[-1] + 1 :]}" if is_account else found[0]
