"""The Chinese pages: whole, up to date with the English ones, blocks to the letter, one word for one thing."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from relay.dashboard.languages import TEXTS
from relay.dashboard.languages.causes_zh import CAUSES
from tests.docs import chinese
from tests.docs.chinese import PAGES, Section, behind, copied, figures, pairs, sections
from tests.docs.markdown import CHINESE, ROOT, name_of, tables

FOLDER = ROOT / "docs" / "zh"
INDEX, GLOSSARY = FOLDER / "README.md", FOLDER / "glossary.md"
HEADS = ("英文", "中文", "含义", "不写作")
EXPLANATIONS = [ROOT / "relay" / "explanations.toml", ROOT / "relay" / "tmc" / "explanations.toml"]
HAN = "[一-鿿]"
NUMBER = re.compile(r"(?<![\w.,-])\d(?:[\d,.]*\d)?(?![\w-])")
english_pages = pytest.mark.parametrize("english", PAGES, ids=name_of)
chinese_pages = pytest.mark.parametrize("page", CHINESE, ids=name_of)


def spoken(text: str) -> str:
    """Without blocks, comments, targets of links, pictures, emphasis; what is in backticks is one Latin letter."""
    plain = chinese.BLOCK.sub("", chinese.FIGURES.sub("", text))
    plain = re.sub(r"<!--.*?-->|\*\*|(?<=\])\([^)]*\)|!?\[|\]", "", plain)
    return re.sub(r"`[^`\n]+`", "x", plain)


def codes(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", re.sub(r"\s*\n\s*", " ", text)))


def rows(section: Section) -> list[list[str]]:
    lines = [line for line in section.prose.splitlines() if line.startswith("|")]
    return [re.split(r"(?<!\\)\|", line.strip("|")) for line in lines]


def lost(source: Section, translated: Section) -> list[str]:
    """What the English section has and the Chinese one has not, and names that it has from nowhere."""
    body = " ".join(source.body.split())
    found = {f"`{code}`" for code in codes(source.prose) - codes(translated.prose)}
    found |= set(NUMBER.findall(source.prose)) - set(NUMBER.findall(translated.prose))
    found |= {f"`{code}` is not in the English section" for code in codes(translated.prose) if code not in body}
    if [len(row) for row in rows(source)] != [len(row) for row in rows(translated)]:
        found.add("a row or a column of a table")
    else:
        for said, row in zip(rows(source), rows(translated), strict=True):
            for cell, there in zip(said, row, strict=True):
                found |= {f"`{code}` in {row[0].strip()}" for code in codes(cell) - codes(there)}
    for what, sign in (("an item of a list", "\n- "), ("a link", "](")):
        if source.prose.count(sign) > translated.prose.count(sign):
            found.add(what)
    return [f"{translated.heading}: {it}" for it in sorted(found)]


def sentence(text: str) -> list[str]:
    """What is wrong with how Chinese and Latin stand beside each other."""
    side_by_side = re.findall(rf".{{0,12}}{HAN}[A-Za-z0-9].{{0,12}}|.{{0,12}}[A-Za-z0-9]{HAN}.{{0,12}}", text)
    narrow = re.findall(rf".{{0,12}}{HAN}[,;:?!()].{{0,12}}|.{{0,12}}[,;:?!()]{HAN}.{{0,12}}", text)
    return [*(f"a space is missing: {it}" for it in side_by_side), *(f"full width is due: {it}" for it in narrow)]


@english_pages
def test_no_section_is_left_out_and_none_is_behind(english: Path) -> None:
    whole = [[one.level for one in sections(page.read_text("utf-8"))] for page in (english, PAGES[english])]
    assert whole[0] == whole[1], "another number of sections, or of another level"
    assert list(behind(english)) == []


@english_pages
def test_blocks_are_the_same_to_the_letter_and_in_the_same_order(english: Path) -> None:
    for source, translated in pairs(english):
        assert translated.blocks == source.blocks, f"{translated.heading}: python -m tests.docs.chinese --copy"


@english_pages
def test_figures_are_the_measured_ones(english: Path) -> None:
    there = chinese.FIGURES.findall(PAGES[english].read_text(encoding="utf-8"))
    assert there == figures(english), "python -m tests.docs.chinese --copy"


@english_pages
def test_no_number_name_row_or_item_got_lost(english: Path) -> None:
    assert [found for both in pairs(english) for found in lost(*both)] == []


@chinese_pages
def test_chinese_and_latin_stand_apart_and_punctuation_is_full_width(page: Path) -> None:
    assert sentence(spoken(page.read_text(encoding="utf-8"))) == []


@chinese_pages
def test_a_paragraph_is_one_line(page: Path) -> None:
    """For a line break is shown as a space, and Chinese has none between its words."""
    broken = re.findall(r"^(?![|#<-]).+\n(?![|#<\n-]|\d\. ).+", spoken(page.read_text(encoding="utf-8")), re.MULTILINE)
    assert broken == []


@pytest.mark.parametrize("page", sorted(FOLDER.glob("*.md")), ids=name_of)
def test_a_link_to_a_page_in_english_says_so(page: Path) -> None:
    """Below docs/zh; README.zh-CN.md says it once, of all its links."""
    links = re.findall(r"\]\((\.\./[\w./-]+\.md)(?:#[\w-]+)?\)(.{0,3})", page.read_text(encoding="utf-8"), re.DOTALL)
    chinese_ones = {f"../../{ROOT.joinpath('README.zh-CN.md').name}", f"../{page.name}"}  # and [English] at the top
    assert [link for link, behind_it in links if link not in chinese_ones and "英文" not in behind_it] == []


@chinese_pages
def test_a_link_leads_to_the_chinese_page_where_there_is_one(page: Path) -> None:
    for text, target in re.findall(r"\[([^\]]+)\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        there = (page.parent / target).resolve()
        assert there not in PAGES or text == "English", f"{name_of(page)}: [{text}] leads to the English page"


def test_one_leads_to_the_other() -> None:
    for english, page in (PAGES | {FOLDER.parent / "glossary.md": GLOSSARY}).items():
        for here, there, said in ((english, page, "简体中文|中文"), (page, english, "English")):
            top = "\n".join(here.read_text(encoding="utf-8").splitlines()[:5])
            targets = re.findall(rf"\[(?:{said})\]\(([^)]+)\)", top)
            assert there in [(here.parent / target).resolve() for target in targets], f"{name_of(here)} has no way over"


def test_the_chinese_index_names_every_chinese_page_and_says_which_are_english() -> None:
    text = INDEX.read_text(encoding="utf-8")
    linked = set(re.findall(r"^- .*?\]\(([\w-]+\.md)\)", text, re.MULTILINE))
    assert linked == {page.name for page in FOLDER.glob("*.md")} - {INDEX.name}
    for line in re.findall(r"^- .+$", text, re.MULTILINE):
        assert ("](../" in line) == ("（英文）" in line), line


def test_the_words_are_those_of_the_glossary_in_its_order() -> None:
    words = [row[0] for row in tables(ROOT / "docs" / "glossary.md", "word", "meaning", "where")]
    assert [row[0] for row in tables(GLOSSARY, *HEADS)][: len(words)] == words
    others = [row[0] for row in tables(GLOSSARY, *HEADS)][len(words) :]
    assert others == sorted(others)
    assert not set(others) & set(words)
    translations = [row[1] for row in tables(GLOSSARY, *HEADS)]
    assert len(set(translations)) == len(translations), "one Chinese word for two English ones"


def said_by_the_relay() -> dict[str, str]:
    """What ``relay explain`` and the pages of the dashboard say in Chinese."""
    explained = {
        f"{name_of(path)}: {code} {name}": entry[name]
        for path in EXPLANATIONS
        for code, entry in tomllib.loads(path.read_text(encoding="utf-8")).items()
        for name in ("zh", "ask_zh")
    }
    pages = {**TEXTS["zh"], **CAUSES}
    return explained | {f"the dashboard: {key}": re.sub(r"\{\w+\}", "x", text) for key, text in pages.items()}


def test_one_word_for_one_thing() -> None:
    refused = {word: row[1] for row in tables(GLOSSARY, *HEADS) for word in row[3].split("、") if word}
    assert len(refused) > 10
    texts = {name_of(page): page.read_text(encoding="utf-8") for page in CHINESE if page != GLOSSARY}
    wrong = [
        f"{name}: {refused[word]}, not {word}"
        for name, text in (texts | said_by_the_relay()).items()
        for word in refused
        if word in text
    ]
    assert wrong == []


def test_what_the_relay_says_is_written_like_the_pages() -> None:
    assert {code: found for code, text in said_by_the_relay().items() if (found := sentence(spoken(text)))} == {}


# --- that the tests above notice ------------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A page of two sections and its translation."""
    english, translated = tmp_path / "page.md", tmp_path / "zh.md"
    monkeypatch.setattr(chinese, "ROOT", tmp_path)
    monkeypatch.setitem(PAGES, english, translated)
    text = "# Page\n\nOne.\n\n## Two\n\nSay it:\n\n```sh\n# no heading\nrelay status\n```\n\n    error: e\n"
    english.write_text(f"{text}\n<!-- figures: t -->\n| | ms |\n| Two (2) | 1 |\n<!-- end of figures -->\n")
    first, second = sections(english.read_text())
    lines = english.read_text().replace("Page", "页").replace("One.", "一。").replace("## Two", "## 二")
    lines = lines.replace("| Two (2)", "| 二 (2)").replace("Say it", "说")
    lines = lines.replace("# 页\n", f"# 页\n<!-- en: {first.hash()} -->\n")
    translated.write_text(lines.replace("## 二\n", f"## 二\n<!-- en: {second.hash()} -->\n"))
    return english, translated


def test_a_section_that_changed_is_named_with_the_line_to_paste(two: tuple[Path, Path]) -> None:
    english, translated = two
    assert list(behind(english)) == []
    english.write_text(english.read_text().replace("relay status", "relay check").replace("| 1 |", "| 2 |"))
    (told,) = behind(english)
    assert told.startswith("page.md:5: 'Two' is not what zh.md:6: '二' was written from.")
    mark = re.findall("<!-- en: [0-9a-f]{8} -->", told)[0]
    translated.write_text(re.sub(r"(?<=## 二\n).+", mark, translated.read_text()))
    assert list(behind(english)) == []


def test_lines_broken_elsewhere_and_new_figures_are_no_change(two: tuple[Path, Path]) -> None:
    english, _ = two
    english.write_text(english.read_text().replace("Say it", "Say\nit").replace("| 1 |", "| 2 |"))
    assert list(behind(english)) == []


def test_a_block_in_an_item_of_a_list_is_no_prose() -> None:
    section = Section(
        "One", 2, 1, "\n1. Say:\n\n   <!-- not run: x -->\n   ```sh\n   relay status\n   ```\n\n2. Go on.\n"
    )
    assert section.blocks == ["   <!-- not run: x -->\n   ```sh\n   relay status\n   ```"]
    assert "relay status" not in section.prose


def test_blocks_and_figures_are_copied(two: tuple[Path, Path]) -> None:
    english, translated = two
    before = translated.read_text()
    assert copied(english) == before
    english.write_text(
        english.read_text().replace("relay status", "relay check").replace("error: e", "error: f").replace("| 1", "| 2")
    )
    after = copied(english)
    assert after != before
    expected = before.replace("relay status", "relay check").replace("error: e", "error: f")
    assert after == expected.replace("| 二 (2) | 1", "| 二 (2) | 2")


@pytest.mark.parametrize(
    ("english", "translated", "missing"),
    [
        ("Wait `60` s, 1,000 times.", "等 `60` 秒，共 1,000 次。", []),
        ("Wait 60 s, 1,000 times.", "等 6 秒，共 1000 次。", ["1,000", "60"]),
        (
            "`relay status`, `DIR`",
            "`relay check`、`DIR`",
            ["`relay check` is not in the English section", "`relay status`"],
        ),
        ("| `a` | one |\n| `b` | two |", "| `a` | 一 |", ["`b`", "a row or a column of a table"]),
        ("| `a` | one |\n| `b` | two |", "| `b` | 一 |\n| `a` | 二 |", ["`a` in `b`", "`b` in `a`"]),
        ("\n- one [two](x)\n- three", "\n- 一\n  三", ["a link", "an item of a list"]),
    ],
)
def test_what_got_lost_is_found(english: str, translated: str, missing: list[str]) -> None:
    assert lost(Section("One", 2, 1, english), Section("一", 2, 1, translated)) == [f"一: {it}" for it in missing]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("用 `x` 或 a，b（c）。", []), ("用`x`", ["space"]), ("第3 条", ["space"]), ("好, 的", ["full width"])],
)
def test_what_stands_too_close_is_found(text: str, wrong: list[str]) -> None:
    found = sentence(spoken(text))
    assert [words in said for words, said in zip(wrong, found, strict=True)] == [True] * len(wrong)
