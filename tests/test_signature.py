"""reviewopt.text.signature: what may share an answer, and what never may."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import fuzz

from reviewopt.config import packaged
from reviewopt.text import signature
from reviewopt.text.lexicon import UNLISTED
from reviewopt.text.normal import normalise, normalise_field

Pair = tuple[str, str]

LEXICON = signature.load_lexicon()
NEAR = 85  # the ratio from which two texts may share at all
ROOT = Path(__file__).parents[1]
LABELLED = Path(os.environ.get("LABELLED_TABLES", ROOT / "data" / "labelled"))

# One frame a language; the edits fill its gap. Left and right of an edit differ by one negation, number, antonym or
# intensifier. The rest of the frame is long enough that the two texts are near copies.
FRAMES = {
    "en": (
        "I bought this phone for my mother some weeks ago, the camera {} and the people at the shop told us about it.",
        "We use the machine in our kitchen at home. My husband says that it {} when we make the coffee in the morning.",
        "My daughter read the book at school, and I think the story {} for the children that like games and music.",
        "The package was here in the morning, the colour of the jacket is as shown, and it {} as they say on the page.",
    ),
    "de": (
        "Ich habe das Gerät für meine Tochter gekauft und finde, dass die Kamera {}, wie es in der Beschreibung steht.",
    ),
    "fr": ("J'ai acheté cet appareil pour ma fille et je trouve que la caméra {} comme dit dans la description ici.",),
    "es": (
        "Compré este teléfono para mi hija y creo que la cámara {} como dice en la descripción de la tienda en casa.",
    ),
    "it": (
        "Ho preso questo telefono per mia figlia e credo che la fotocamera {} come dice la descrizione del venditore.",
    ),
    "pt": ("Comprei este celular para minha filha e acho que a câmera {} como diz na descrição do vendedor da loja.",),
    "nl": ("Ik heb deze telefoon voor mijn dochter gekocht en vind dat de camera {} zoals in de beschrijving staat.",),
}
NEGATIONS = {
    "en": """is > is not; is > isn't; was > wasn't; does > doesn't; did > didn't; can > can't; can > cannot;
        will > won't; has > hasn't; could > couldn't; is > isnt; does > dont; is > never is; works > hardly works;
        works > never works; comes with it > comes without it; is > barely is; does > does not; is any > is no;
        opens > never opens; sturdy > not sturdy; portable > non portable; zingy > not zingy""",
    "de": """ist > ist nicht; ist eine > ist keine; ist immer > ist nie; mit Licht > ohne Licht;
        ist alles > ist nichts; ist > ist kaum; hat einen > hat keinen""",
    "fr": """est > n'est pas; est toujours > est jamais; avec son > sans son; a tout > a rien; est > est guère;
        est une > est aucune; va > va pas""",
    "es": """es > no es; es siempre > es nunca; con luz > sin luz; tiene todo > tiene nada; tiene una > tiene ninguna;
        va > tampoco va; es > apenas es""",
    "it": """è > non è; è sempre > è mai; con luce > senza luce; ha tutto > ha niente; ha una > ha nessuna;
        va > neanche va; è > mica è""",
    "pt": """é > não é; é sempre > é nunca; com luz > sem luz; tem tudo > tem nada; tem uma > tem nenhuma;
        vai > tampouco vai; é > nem é""",
    "nl": """is > is niet; is een > is geen; is altijd > is nooit; met licht > zonder licht; is alles > is niets;
        is > is nauwelijks; gaat > gaat niet""",
}
NUMBERS = {
    "en": """has 4.5 > has 45; has two > has three; costs $5 > costs 5%; shows -5 > shows 5; is 1/5 > is 5/1;
        is first > is second; has 100 > has 1000; is half > is double; came once > came twice; has ten > has nine;
        has hundred > has thousand; is 3.0 > is 3; has dozen > has couple""",
    "de": "hat zwei > hat drei; hat 100 > hat 1000; hat halbe > hat doppelte; hat zehn > hat elf; ist 4,5 > ist 45",
    "fr": "a deux > a trois; a 100 > a 1000; a demie > a double; a dix > a onze; est 4,5 > est 45",
    "es": """tiene dos > tiene tres; tiene 100 > tiene 1000; tiene media > tiene doble; tiene diez > tiene once;
        es 4,5 > es 45""",
    "it": "ha due > ha tre; ha 100 > ha 1000; ha mezza > ha doppia; ha dieci > ha undici; è 4,5 > è 45",
    "pt": "tem dois > tem três; tem 100 > tem 1000; tem meia > tem dupla; tem dez > tem onze; é 4,5 > é 45",
    "nl": """heeft twee > heeft drie; heeft 100 > heeft 1000; heeft halve > heeft dubbele; heeft tien > heeft elf;
        is 4,5 > is 45""",
}
ANTONYMS = {
    "en": """is good > is bad; is great > is awful; is easy > is hard; works > fails; is cheap > is dear;
        is fast > is slow; is before > is after; is on > is off; goes in > goes out; goes up > goes down;
        is better > is worse; is best > is worst; is loud > is quiet; is thick > is thin; is long > is short;
        is loved > is hated; is left > is right; is hot > is cold; is male > is female; is happy > is unhappy;
        is useful > is useless; is open > is closed; is new > is old; is clean > is dirty; is safe > is unsafe;
        is more > is less; is all > is some; is fixed > is broken; is zingful > is zingless""",
    "de": """ist gut > ist schlecht; ist billig > ist teuer; ist schnell > ist langsam; ist gross > ist klein;
        ist laut > ist leise; ist besser > ist schlimmer""",
    "fr": """est bonne > est mauvaise; est facile > est difficile; est rapide > est lente; est grande > est petite;
        est utile > est inutile; est meilleure > est pire""",
    "es": """es buena > es mala; es fácil > es difícil; es rápida > es lenta; es grande > es pequeña;
        es útil > es inútil; es mejor > es peor""",
    "it": """è buona > è cattiva; è facile > è difficile; è veloce > è lenta; è grande > è piccola;
        è utile > è inutile; è migliore > è peggiore""",
    "pt": """é boa > é má; é fácil > é difícil; é rápida > é lenta; é grande > é pequena; é útil > é inútil;
        é melhor > é pior""",
    "nl": """is goed > is slecht; is goedkoop > is duur; is snel > is traag; is groot > is klein; is luid > is stil;
        is beter > is slechter""",
}
INTENSIFIERS = {
    "en": """is good > is very good; is good > is too good; is good > is really good; is good > is extremely good;
        is good > is slightly good; is good > is quite good; is good > is almost good;
        is very good > is very very good; is round > is fairly round; is round > is totally round""",
    "de": "ist gut > ist sehr gut; ist gut > ist zu gut; ist gut > ist extrem gut; ist gut > ist ziemlich gut",
    "fr": """est bonne > est très bonne; est bonne > est trop bonne; est bonne > est vraiment bonne;
        est bonne > est assez bonne""",
    "es": """es buena > es muy buena; es buena > es demasiado buena; es buena > es realmente buena;
        es buena > es bastante buena""",
    "it": """è buona > è molto buona; è buona > è troppo buona; è buona > è davvero buona;
        è buona > è abbastanza buona""",
    "pt": "é boa > é muito boa; é boa > é demais boa; é boa > é realmente boa; é boa > é bastante boa",
    "nl": "is goed > is heel goed; is goed > is te goed; is goed > is echt goed; is goed > is tamelijk goed",
}
EDITS = {"negations": NEGATIONS, "numbers": NUMBERS, "antonyms": ANTONYMS, "intensifiers": INTENSIFIERS}


def edits(kind: str, language: str) -> Iterator[Pair]:
    for edit in EDITS[kind][language].split(";"):
        left, right = edit.split(">")
        yield left.strip(), right.strip()


def made_pairs(language: str, kinds: tuple[str, ...] = tuple(EDITS)) -> list[Pair]:
    return [
        (frame.format(left), frame.format(right))
        for frame in FRAMES[language]
        for kind in kinds
        for left, right in edits(kind, language)
    ]


def sign(texts: list[str], lexicon: signature.Lexicon = LEXICON) -> signature.Signatures:
    return signature.sign(normalise_field(pl.Series(texts, dtype=pl.String)), lexicon)


def are_alike(pairs: list[Pair], lexicon: signature.Lexicon = LEXICON) -> list[bool]:
    left, right = (sign([pair[side] for pair in pairs], lexicon) for side in (0, 1))
    return [bool(alike) for alike in signature.alike(left, right)]


def shown(pairs: list[Pair], wrong: list[bool]) -> list[Pair]:
    return [pair for pair, is_wrong in zip(pairs, wrong, strict=True) if is_wrong]


@pytest.mark.parametrize("language", FRAMES)
def test_one_negation_number_antonym_or_intensifier_never_shares(language: str) -> None:
    pairs = made_pairs(language)
    assert len(set(pairs)) >= (200 if language == "en" else 20)
    assert shown(pairs, [fuzz.ratio(a, b) < NEAR for a, b in pairs]) == []
    told = np.concatenate([sign([pair[side] for pair in pairs]).language for side in (0, 1)])
    assert {LEXICON.languages[number] for number in told.tolist()} == {language}  # else they differ for no merit
    assert shown(pairs, are_alike(pairs)) == []


@pytest.mark.parametrize("kind", EDITS)
@pytest.mark.parametrize("language", FRAMES)
def test_without_a_list_some_of_its_pairs_would_share(kind: str, language: str, tmp_path: Path) -> None:
    for name in (language, UNLISTED):
        path = packaged("configs", "languages", f"{name}.toml")
        text = path.read_text(encoding="utf-8")
        if name == language:
            affixes = re.compile(r"^(prefixes|suffixes|negating) = \[.*?\]\n", re.MULTILINE | re.DOTALL)
            one = re.compile(rf"^{kind} = \[\n(.*?)^\]\n", re.MULTILINE | re.DOTALL)
            words = " ".join(re.findall(r'"(.*)"', one.findall(text)[0])).replace("|", " ")
            text = one.sub(f'{kind} = ["qqqq"]\n', affixes.sub("", text)).replace(
                "common = [", f'common = [\n"{words}",', 1
            )
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    lexicon = signature.load_lexicon(tmp_path)
    assert lexicon.digest != LEXICON.digest
    assert any(are_alike(made_pairs(language, (kind,)), lexicon))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("the case is not sturdy, the phone is", "the case is sturdy, the phone is not"),
        ("I got the case, I did not get the phone", "I did not get the case, I got the phone"),
        ("the camera is good, the sound is bad", "the camera is bad, the sound is good"),
        ("this phone is better than that camera", "this camera is better than that phone"),
        ("it is rated 4.5 here", "it is rated 45 here"),
        ("it is rated 4 here", "it is rated -4 here"),
        ("it is rated 4 here", "it is rated 4+ here"),
        ("it is rated 4 5 here", "it is rated 4/5 here"),
        ("it costs $5 at the shop", "it costs 5 at the shop"),
        ("it costs €5 at the shop", "it costs ₹5 at the shop"),
        ("it is 5% of the price", "it is 5 of the price"),
        ("it is ½ of the price", "it is 12 of the price"),
        ("the product :)", "the product :("),
        ("the product :-)", "the product"),
        ("the product <3", "the product </3"),
        ("this is the product =D", "this is the product =/"),
        ("the product 👍", "the product 👎"),
        ("the product ❤️", "the product 💔"),
        ("the product ★★★★★", "the product ★"),
        ("the product ***", "the product *"),
        ("the product ✓", "the product ✗"),
        ("the product came?", "the product came"),
        ("this is very very round", "this is very round"),
        ("this is sooo round", "this is round"),
        ("this is unround", "this is round"),
        ("this is roundless", "this is roundful"),
        ("this is 'great', they say", "this is 'awful', they say"),
        ("👍'great', they say", "👍'awful', they say"),
        ("I don’t know the product", "I know the product"),
        ("I don´t know the product", "I know the product"),
        ("I don`t know the product", "I know the product"),
        ("I don ʼ t know the product", "I know the product"),
        ("I donʼt know the product", "I know the product"),
        ("I dont know the product", "I know the product"),
        ("I don t know the product", "I know the product"),
        ("the productnot came", "the product came"),
        ("the product notcame", "the product came"),
        ("the product is goodlooking", "the product is badlooking"),
        ("the product is bahut for us", "the product is for us"),
    ],
)
def test_these_never_share(left: str, right: str) -> None:
    assert are_alike([(left, left), (right, right)]) == [True, True]
    assert are_alike([(left, right)]) == [False]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Good product, the camera works.", "good product - the camera works"),
        ("Good product, the camera works!", "Good product, the camera works!!!"),
        ("The camera of this phone is good", "The camra of this phone is good"),
        ("The camera of this phone is good", "The cameras of this phone are good"),
        ("The camera is good", "Honestly, the camera is good overall"),
        ("I like the Samsung phone", "I like the Samsong phone"),
        ("I did not receive the charger", "I did not receive the chargers"),
        ("a 'good' product", "a good product"),
        ("the product 👍🏽", "the product 👍🏿"),
        ("the product ❤️", "the product ❤"),
        ("awsome product", "awesome product"),
        ("I dont like it", "I don't like it"),
        ("it is very good", "it is vry gud"),
        ("Das Gerät ist sehr gut, ehrlich gesagt.", "Das Gerät ist sehr gut ehrlich gesagt"),
        ("La caméra de cet appareil est bonne", "La caméra de cet appareil est bonne!"),
    ],
)
def test_fillers_names_typos_and_punctuation_leave_it_as_it_was(left: str, right: str) -> None:
    assert are_alike([(left, right)]) == [True]


def test_near_copies_of_real_length_share_after_a_harmless_edit() -> None:
    words = ["camera", "phone", "screen", "colour", "material", "package", "seller", "shop", "sound", "charger"]
    harmless: tuple[Callable[[str], str], ...] = (
        lambda word: word[:2] + word[3:],
        lambda word: word + "s",
        lambda word: word.upper(),
        lambda word: f"{word}, honestly,",
        lambda word: f'"{word}"',
    )
    frames = [frame.format("is good") + " The {} is here." for frame in FRAMES["en"]]
    pairs = [(frame.format(w), frame.format(edit(w))) for frame in frames for w in words for edit in harmless]
    assert len(pairs) == 200
    assert shown(pairs, [fuzz.ratio(a, b) < NEAR for a, b in pairs]) == []
    assert shown(pairs, [not same for same in are_alike(pairs)]) == []


def test_a_title_counts_and_a_row_without_tokens_has_a_signature() -> None:
    forms = normalise(pl.Series(["Good", "Bad", None]), pl.Series(["this is the camera"] * 3))
    signed = signature.sign(forms, LEXICON)
    assert len(set(signed.value.tolist())) == 3
    assert (signed.language == LEXICON.languages.index("en")).all()


def test_no_language_shares_nothing_not_even_with_itself() -> None:
    texts = ["很好", "zzz qqq", "", "👍"]
    assert are_alike([(text, text) for text in texts]) == [False] * 4
    assert sign(texts).value.tolist() == [0] * 4


def test_two_languages_share_nothing() -> None:
    one, other = sign(["das Gerät ist hier"]), sign(["the machine is here"])
    same = signature.Signatures(other.value, one.language)
    assert signature.alike(same, other).tolist() == [False]


WORDS = st.sampled_from(
    [
        "not",
        "very",
        "good",
        "isn't",
        "4.5",
        ":)",
        "?",
        "👍",
        "the",
        "camera",
        "'x'",
        "unfit",
        "sooo",
        "l'été",
        "$",
        "nicht",
        "das",
    ]
)
ROWS = st.lists(st.none() | st.lists(WORDS, max_size=9).map(" ".join) | st.text(max_size=30), min_size=1, max_size=6)


@given(ROWS, st.integers(0, 6))
def test_a_row_alone_is_signed_as_in_a_batch_in_any_order(rows: list[str | None], cut: int) -> None:
    form = normalise_field(pl.Series(rows, dtype=pl.String))
    whole = signature.sign(form, LEXICON)
    backwards = signature.sign(form.reverse(), LEXICON)
    parts = [signature.sign(part, LEXICON) for part in (form[:cut], form[cut:])]
    assert whole.value.tolist() == [*parts[0].value.tolist(), *parts[1].value.tolist()]
    assert whole.value.tolist() == backwards.value.tolist()[::-1]
    assert whole.language.tolist() == backwards.language.tolist()[::-1]


def test_signatures_are_stored_so_a_change_of_the_rules_needs_a_new_version() -> None:
    assert signature.VERSION == 1
    assert sign(["it is not very good :) 4.5 unfit?"]).value.tolist() == PINNED


PINNED = [8793044032984596064]


# Real pairs: made by rules from real tables, which are no part of the project.
OPPOSITES = """good bad; great terrible; best worst; love hate; easy hard; cheap expensive; with without; one two;
    two three; all some; before after; more less; is is not; was was not; does doesn't; very; really; too; not; never"""
SUBSTITUTES = [tuple(edit.strip().partition(" ")[::2]) for edit in OPPOSITES.split(";")]


def real_forms() -> list[str]:
    forms: list[str] = []
    for name in ("flipkart_205k", "amazon_90k", "airline_tweets"):
        path = LABELLED / f"{name}.parquet"
        if not path.is_file():
            pytest.skip(f"{path} is not here; LABELLED_TABLES names the folder of the tables")
        table = pl.read_parquet(path).head(60_000)
        title = table["title"] if "title" in table.columns else pl.Series([None] * len(table), dtype=pl.String)
        forms += normalise(title, table["text"]).drop_nulls().unique(maintain_order=True).to_list()
    return [form for form in forms if 20 <= len(form) <= 300]


def edited(form: str, old: str, new: str) -> str:
    if old not in form:
        return form
    return re.sub(rf"(?<![\w']){old}(?![\w'])", new, form, count=1).replace("  ", " ").strip()


def test_real_reviews_share_nothing_with_their_opposites() -> None:
    forms = real_forms()
    known = set(forms)
    pairs, n_natural = [], 0
    for number, form in enumerate(forms):
        old, new = SUBSTITUTES[number % len(SUBSTITUTES)]
        for before, after in SUBSTITUTES if len(form) < 60 else [(old, new)]:
            other = edited(form, before, after)
            natural = other in known
            if other != form and (natural or number % 20 == 0) and fuzz.ratio(form, other) >= NEAR:
                pairs.append((form, other))
                n_natural += natural
    assert len(pairs) >= 100
    assert n_natural >= 100  # both are real reviews
    assert shown(pairs, are_alike(pairs)) == []
