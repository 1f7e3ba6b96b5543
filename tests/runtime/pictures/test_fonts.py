"""Fonts for names in any script."""

import pathlib
import shutil
import subprocess
import unicodedata

import numpy as np
import pytest

from fcnrt.pictures import fonts, legends
from fcnrt.pictures.palette import voc_palette

pytest.importorskip("PIL")
HINDI, ARABIC, CHINESE, LATIN = "सड़क", "إشارة مرور", "人行道", "trottoir é"
IN_NONE = "\U00012000\U0001d173\ue123"  # cuneiform, and letters that no standard gives a form


@pytest.fixture(autouse=True)
def _nothing_is_remembered():
    for cached in (fonts.runs, fonts._face, fonts._packaged, fonts._of_the_system, fonts._can_shape):
        cached.cache_clear()
    yield
    for cached in (fonts.runs, fonts._face, fonts._packaged, fonts._of_the_system, fonts._can_shape):
        cached.cache_clear()


@pytest.fixture
def noto():
    pytest.importorskip("manimgx_fonts")
    pytest.importorskip("manimgx_fonts_cjk")


@pytest.fixture
def shaping():
    if not fonts._can_shape():
        pytest.skip("needs FriBidi")


@pytest.fixture
def alone(monkeypatch):
    """Pillow's font and no other."""
    monkeypatch.setattr(fonts, "PACKAGES", ())
    monkeypatch.setattr(shutil, "which", lambda name: None)


@pytest.mark.parametrize("name", [HINDI, ARABIC, CHINESE, LATIN, "дорога", "보행자", "คนเดิน", f"{ARABIC} / car"])
def test_packaged_fonts_have_the_letters(noto, shaping, monkeypatch, name):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    found = fonts.runs(name)
    assert "".join(text for text, _ in found) == unicodedata.normalize("NFC", name)
    for text, face in found:
        assert not face.lacks(text) and "manimgx" in (face.path or "manimgx")


@pytest.mark.parametrize("name", [HINDI, CHINESE, LATIN, f"{CHINESE} {HINDI}"])
def test_without_a_font_there_is_a_number_and_a_note(alone, shaping, name):
    names = ["road", name]
    assert fonts.runs(name) is None and fonts.runs("road") == (("road", fonts.Face()),)
    note = fonts.note_on(names)
    assert note.startswith(f"legend: {name!r} shown by number, for want of a font") and "pip install" in note
    assert "[fonts]" in note and "\n" not in note
    drawn, numbered = (legends.legend(each, voc_palette(2)) for each in (names, ["road", "1"]))
    np.testing.assert_array_equal(drawn, numbered)


def test_a_note_quotes_three_names(alone):
    assert "'ж', 'д', 'ю' and others shown" in fonts.note_on("ждюя")
    assert fonts.note_on(["road", "car"]) is None


def test_scripts_that_need_shaping_need_fribidi(noto, monkeypatch):
    monkeypatch.setattr(fonts, "_can_shape", lambda: False)
    assert fonts.runs(ARABIC) is None and fonts.runs(HINDI) is None and fonts.runs(CHINESE)
    assert fonts.note_on([ARABIC]).endswith("for want of FriBidi (apt install libfribidi0)")


def test_letters_that_are_composed_need_no_shaping():
    assert not fonts._needs_shaping(unicodedata.normalize("NFC", "e\u0301"))
    assert fonts._needs_shaping("x\u0301")


def test_the_system_is_asked_for_all_letters_at_once(monkeypatch, noto):
    path = next(face.path for face in fonts._packaged() if "CJK" in face.path)
    fonts._packaged.cache_clear()
    asked = []

    def run(command, **options):
        asked.append(command[-1])
        return subprocess.CompletedProcess(command, 0, stdout=f"{path}\n{1 << 16}")

    monkeypatch.setattr(fonts, "PACKAGES", ())
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/fc-match")
    monkeypatch.setattr(subprocess, "run", run)
    assert fonts.runs(CHINESE) == ((CHINESE, fonts.Face(path, 0)),)
    assert asked == ["sans-serif:scalable=true:color=false:charset=4eba 884c 9053"]


@pytest.mark.parametrize("answer", ["", "/none/such.ttf\n0", f"{pathlib.Path(__file__)}\n0", "nonsense"])
def test_what_fontconfig_answers_is_tried(monkeypatch, answer):
    monkeypatch.setattr(fonts, "PACKAGES", ())
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/fc-match")
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, stdout=answer))
    assert fonts.runs(CHINESE) is None


@pytest.mark.skipif(shutil.which("fc-match") is None, reason="needs fontconfig")
def test_the_system_s_fonts_are_drawn_only_where_they_have_the_letters(monkeypatch):
    monkeypatch.setattr(fonts, "PACKAGES", ())
    assert fonts.runs(IN_NONE) is None
    for name in (HINDI, ARABIC, CHINESE, LATIN):
        assert all(not face.lacks(text) for text, face in fonts.runs(name) or ())


def test_names_in_two_scripts_are_drawn_side_by_side(noto, shaping, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert [text for text, _ in fonts.runs("car คน")] == ["car ", "คน"]


def test_line_breaks_become_spaces():
    assert fonts.runs("traffic\nlight") == fonts.runs("traffic light")


def test_a_legend_of_three_scripts_shows_three_names(noto, shaping):
    names = [HINDI, ARABIC, CHINESE]
    picture = legends.legend(names, voc_palette(3), font_px=20)
    rows = np.split(picture[:, 40:, 0], 3)
    assert all((row < 128).sum() > 60 for row in rows)
    assert len({row.tobytes() for row in rows}) == 3
