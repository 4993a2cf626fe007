"""reviewopt.text.language: which language a review is in, and when it is none."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewopt.config import packaged
from reviewopt.text import lexicon, signature
from reviewopt.text.normal import normalise_field

LEXICON = lexicon.load()
TOLD = {
    "en": """awesome product; super!; value for money; good; nice; ok; perfect; excellent; best; gud; osm
        simple; top notch; waste of money
        don't buy; original product; worth every penny; just wow!; loved it; not bad; very nice
        the battery lasts two days
        I bought this for my son and he plays with it every day; arrived broken, asked for a refund
        Five Stars""",
    "de": """Sehr gutes Produkt, kann ich nur empfehlen.; Leider nach zwei Wochen kaputt.
        Schnelle Lieferung, alles bestens; Gute Qualität
        Preis-Leistung top; Nicht zu empfehlen!; Tolles Buch, spannend bis zur letzten Seite.; Schrott
        Groß und schwer""",
    "fr": """Très bon produit, je recommande.; Ne fonctionne plus après deux semaines.
        Livraison rapide, conforme à la description
        Bonne qualité; À fuir !; J'ai adoré ce livre du début à la fin; parfait merci
        Les chaussures sont trop petites""",
    "es": """Muy buen producto, lo recomiendo.; Dejó de funcionar a las dos semanas.
        Envío rápido y todo perfecto; Buena calidad
        No lo compren; Muy contento con la compra; Los zapatos son demasiado pequeños y hacen daño.
        malísimo""",
    "it": """Ottimo prodotto, lo consiglio.; Dopo due settimane non funziona più.
        Spedizione veloce e tutto perfetto; Buona qualità
        Molto soddisfatta dell'acquisto; Le scarpe sono troppo piccole e fanno male.
        Rapporto qualità prezzo eccellente""",
    "pt": """Muito bom produto, recomendo.; Parou de funcionar depois de duas semanas.
        Entrega rápida e tudo perfeito; Boa qualidade
        Não comprem; Custo benefício excelente; Adorei o livro do início ao fim; péssimo""",
    "nl": """Heel goed product, ik raad het aan.; Na twee weken al kapot.; Snelle levering en alles in orde
        Goede kwaliteit
        Niet kopen; De schoenen zijn te klein en doen pijn.; Ik heb genoten van dit boek; slecht""",
}
UNLISTED = {
    "Polish": """Bardzo dobry produkt, polecam; Nie polecam, słaba jakość; Szybka dostawa, wszystko ok; Jest super
        To nie to""",
    "Turkish": "Çok güzel bir ürün, tavsiye ederim; Ürün iyi ama kargo geç geldi; urun cok guzel; Fena değil",
    "Indonesian": """Barang bagus, pengiriman cepat; Bagus sekali, sesuai pesanan; Produk oke, terima kasih
        Tidak sesuai gambar""",
    "Hindi in Latin letters": """bahut accha product hai; Bahut hi badhiya phone hai; Ekdum bakwas, paisa barbad
        Mast product hai bhai
        good product hai; acha hai; super accha hai value for money; product acha nahi hai
        full paisa vasool""",
    "Tamil, Telugu, Bengali in Latin letters": """product nalla irukku; semma product; chala bagundi product
        khub bhalo product""",
    "Swedish": "Väldigt bra produkt; Jättebra, rekommenderas; Inte bra alls; Den är för liten",
    "Norwegian, Danish": """Meget god kvalitet; Ikke bra i det hele tatt; Veldig fornøyd med denne
        Hurtig levering, god pris""",
    "Finnish": "Todella hyvä tuote, suosittelen; Hyvä laatu; Ei toimi; Se on liian pieni",
    "Tagalog": """Ang ganda ng product, salamat; Sobrang bilis ng delivery; Hindi maganda ang quality
        Ok naman po""",
    "Vietnamese": "Sản phẩm rất tốt; San pham rat tot, giao hang nhanh; Hàng đẹp; Không tốt",
    "Hungarian, Romanian, Czech": """Nagyon jó termék; Nem jó; Foarte bun, recomand; Nu este bun
        Velmi dobrý výrobek; Není dobrý""",
    "Croatian, Albanian, Lithuanian": """Odličan proizvod; Nije dobro; Shumë i mirë; Nuk është mirë; Labai geras
        Nėra gerai""",
    "Afrikaans, Catalan, Swahili": """Baie goeie produk; Dit werk nie; Molt bo, el recomano; Nzuri sana
        Si nzuri""",
}
SCRIPTS = """很好 手机不错; とても良い; 아주 좋아요; очень хорошо; πολύ καλό; ممتاز جدا; מצוין; बहुत अच्छा; খুব ভালো; ดีมาก
        ძალიან კარგი; շատ լավ"""


def told(texts: list[str], lists: lexicon.Lexicon = LEXICON) -> list[str | None]:
    signed = signature.sign(normalise_field(pl.Series(texts, dtype=pl.String)), lists)
    return [lists.languages[number] if number >= 0 else None for number in signed.language.tolist()]


def phrases(text: str) -> list[str]:
    return [phrase.strip() for phrase in text.replace("\n", ";").split(";")]


@pytest.mark.parametrize("language", TOLD)
def test_a_review_is_told_by_its_common_words(language: str) -> None:
    texts = phrases(TOLD[language])
    assert [text for text, is_in in zip(texts, told(texts), strict=True) if is_in != language] == []


@pytest.mark.parametrize("language", UNLISTED)
def test_a_language_without_lists_is_none(language: str) -> None:
    texts = phrases(UNLISTED[language])
    assert [(text, is_in) for text, is_in in zip(texts, told(texts), strict=True) if is_in] == []


@pytest.mark.parametrize("letters", phrases(SCRIPTS))
def test_a_letter_of_another_script_makes_it_none(letters: str) -> None:
    assert told(
        ["this is a good product and I like it very much", f"this is a good product and I like it {letters}"]
    ) == ["en", None]
    assert told([letters, f"{letters} the is it", "it is good"]) == [None, None, "en"]


@pytest.mark.parametrize(
    "text", ["it is good 👍", "it is good ★★★ – “yes” … €5 ₹5 ™", "it is good → ok \ufe0f", "a naïve café, it is good"]
)
def test_symbols_and_latin_accents_do_not(text: str) -> None:
    assert told([text]) == ["en"]


@pytest.mark.parametrize("mark", ["\u200b", "\u200d", "\u00ad", "\u2060"])
def test_an_invisible_character_inside_a_word_makes_it_none(mark: str) -> None:
    assert told([f"it is n{mark}ot good", f"it is good{mark} 👍", "it is good"]) == [None, "en", "en"]


@pytest.mark.parametrize("text", ["", " ", "👍👍", "5/5", "!!!", "???", ":)", "2.0", "qwx", "$"])
def test_no_known_word_is_no_language(text: str) -> None:
    assert told([text]) == [None]


def test_half_of_the_words_must_be_known() -> None:
    assert told(["good zqx", "good zqx zqy", "good zqx zqy nice", "the zqx zqy zqz"]) == ["en", None, "en", None]


def test_two_languages_in_one_row_are_none() -> None:
    mixed = ["goed product very good", "Great Qualität sehr gut", "it is very good and nice, aber leider sehr teuer"]
    assert told(mixed) == [None, None, None]
    assert told(["it is very good and nice, he said: gemütlich"]) == ["en"]


def test_a_tie_is_none() -> None:
    assert told(["die", "no"]) == [None, None]  # English and German; English, Spanish and Italian


def test_words_of_both_languages_tell_neither_where_they_are_listed_as_shared() -> None:
    assert told(["super", "hotel", "super Qualität", "super quality"]) == ["en", "en", None, "en"]


def test_without_the_unlisted_words_reviews_in_other_languages_would_be_told(tmp_path: Path) -> None:
    for path in packaged("configs", "languages").glob("*.toml"):
        text = path.read_text(encoding="utf-8")
        if path.stem == lexicon.UNLISTED:
            text = 'language = "und"\nname = "none"\nsources = ["none"]\ncommon = ["zqx"]\n'
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    texts = [text for group in UNLISTED.values() for text in phrases(group)]
    assert any(told(texts, lexicon.load(tmp_path)))


@given(
    st.lists(st.sampled_from(["good", "ist", "est", "zqx", "5", "很", "né", "no", "n\u200bot", ""]), max_size=8),
    st.integers(0, 8),
)
def test_a_row_is_told_by_itself(words: list[str], cut: int) -> None:
    rows = [" ".join(words[:end]) for end in range(len(words) + 1)]
    assert told(rows) == told(rows[:cut]) + told(rows[cut:])
