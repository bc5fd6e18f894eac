"""Pictures and pages tell the truth: one scale for all maps, nothing fetched, names harmless, and the model asked once."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import diffident as dd
from diffident.cli import main
from diffident.denoiser import Empirical
from diffident.errors import InvalidSetting, NotCalibrated, NotPerElement, OutputError
from diffident.report import explain, report
from diffident.report.album import Album
from diffident.report.charts import binned, histogram
from diffident.report.colours import Scale, paint, scale_of, table
from diffident.report.maps import MapFolder, inside
from diffident.report.pictures import legend, overlaid, sized
from diffident.report.sheet import words

EVIL = "<script>alert(1)</script>.png"  # a folder and a file in it


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def draw(place: Path, name: str, seed: int, mark: bool = False) -> Path:
    """A small grey picture of noise about the middle, with a bright mark in one corner if asked."""
    grey = np.random.default_rng(seed).integers(100, 156, (8, 8), dtype=np.uint8)
    if mark:
        grey[1:3, 5:7] = 255
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grey).save(path, format="PNG")
    return path


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models of two recipes, and a delivery of good, marked, blank and broken pictures."""
    place = tmp_path_factory.mktemp("shop")
    for i in range(160):
        draw(place / "good", f"good{i}.png", i)
    assert run("train", place / "good", "--network", "none", "-o", place / "m") == 0
    assert run("train", place / "good", "--network", "none", "-o", place / "plain", "--recipe", "msma", "--keep", 0) == 0
    dd.save(dd.train(place / "good", network="none"), place / "bare")
    for i in range(30):
        draw(place / "new", f"lot 7/part{i}.png", 1000 + i)
    draw(place / "new", EVIL, 2000, mark=True)
    draw(place / "new", "marked & <b>bold</b>.png", 2001, mark=True)
    Image.new("L", (8, 8), 128).save(place / "new" / "blank.png")
    (place / "new" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return place


class Reader(HTMLParser):
    """Every tag opened is closed in order; ids, addresses, alternative texts and words are kept."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.images: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.ids += [named["id"]] if "id" in named else []
        self.addresses += [named[name] for name in ("src", "href", "action", "data") if name in named]
        self.images += [named["alt"]] if tag == "img" else []
        assert not [name for name in named if name.startswith("on")], "a handler in a tag"
        if tag not in ("meta", "img", "input", "br", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data if self.open and self.open[-1] not in ("style", "script") else ""


def sound(path: Path) -> Reader:
    """A page that holds together and fetches nothing."""
    text = path.read_text("utf-8")
    page = Reader(text)
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<link|fetch\(", re.sub(r"data:image/png;base64,[\w+/=]+", "", text).replace("// Sorts", ""))
    assert len(set(page.ids)) == len(page.ids) and all(page.images)
    assert text.count("<script>") == 1, "the page's own script and no other"
    return page


def test_a_page_holds_together_and_says_what_the_rows_say(shop: Path, tmp_path: Path) -> None:
    assert run("score", shop / "m", shop / "new", "-o", tmp_path / "s.csv", "--report", tmp_path / "page.html", "--strangest", 3) == 0
    page = sound(tmp_path / "page.html")
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    flagged = sum(row["decision"] == "flag" for row in rows)
    assert flagged >= 2 and f"{flagged} of {len(rows)} flagged" in page.words
    assert all(row["path"] in page.words for row in rows) and EVIL in page.words
    assert all(row["reason"] in page.words for row in rows if row["decision"] in ("abstain", "unreadable"))
    detector = dd.Detector.load(shop / "m")
    assert detector.settled().promise(len(detector.calibrated)) in page.words
    assert detector.model.fingerprint in page.words and detector.scorer.fingerprint in page.words
    assert "The 3 strangest" in page.words and page.words.count("nearest known-good: good") == 3
    assert "if all were good" in page.words and "flagged: p up to 0.02" in page.words
    assert sum("coloured where it is strange" in alt for alt in page.images) == 3


def test_a_long_table_is_folded_up(shop: Path, tmp_path: Path) -> None:
    report(dd.Detector.load(shop / "m"), np.random.default_rng(3).uniform(0.4, 0.6, (70, 8, 8)), tmp_path / "page.html")
    assert "Show all 70 items" in sound(tmp_path / "page.html").words


def test_a_recipe_without_maps_gets_a_page_without_maps_and_says_so(shop: Path, tmp_path: Path) -> None:
    assert run("score", shop / "plain", shop / "new", "--report", tmp_path / "page.html") == 0
    page = sound(tmp_path / "page.html")
    assert "cannot say where an item is strange" in page.words and not [alt for alt in page.images if "coloured" in alt]
    assert "nearest known-good" not in page.words


def test_a_batch_is_reported_as_one(shop: Path, tmp_path: Path) -> None:
    assert run("score", shop / "m", shop / "new", "--fdr", 0.4, "--report", tmp_path / "page.html", "--maps", tmp_path / "maps") == 0
    page = sound(tmp_path / "page.html")
    assert "at most 40 % are good on average" in page.words and "flagged: p up to" not in page.words
    assert len(list((tmp_path / "maps").rglob("*.png"))) == 33


def test_the_model_is_asked_no_more_often_for_pictures(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer = [], Empirical.__call__
    monkeypatch.setattr(Empirical, "__call__", lambda self, *rest: asked.append(1) or answer(self, *rest))
    assert run("score", shop / "m", shop / "new", "-o", tmp_path / "a.csv") == 0
    plain, asked[:] = len(asked), []
    assert run("score", shop / "m", shop / "new", "-o", tmp_path / "b.csv", "--report", tmp_path / "p.html", "--maps", tmp_path / "maps") == 0
    assert len(asked) == plain > 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_only_the_strangest_are_held(shop: Path) -> None:
    detector, album, verdicts = dd.Detector.load(shop / "m"), None, []
    album = Album(detector, 4)
    for item, verdict in detector.judge(shop / "new", maps=True):
        album.add(item, verdict)
        verdicts.append(verdict)
        assert len(album._strangest) <= 4
    found = album.strangest(verdicts)
    expected = detector.judge_all(shop / "new").strangest(4)
    assert [one.verdict.name for one in found] == [verdict.name for verdict in expected]
    assert all(one.where is not None and one.nearest is not None for one in found)
    assert [one.verdict.name for one in album.declined(verdicts)] == ["blank.png"]


def test_ctrl_c_still_leaves_a_report_of_what_was_judged(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add, count = Album.add, []

    def interrupting(self: Album, *rest: object) -> None:
        add(self, *rest)
        count.append(1)
        if len(count) == 10:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Album, "add", interrupting)
    assert run("score", shop / "m", shop / "new", "-o", tmp_path / "s.csv", "--report", tmp_path / "page.html") == 130
    assert "Interrupted: 10 of 34 items were judged." in sound(tmp_path / "page.html").words
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 11


def test_maps_keep_the_folders_of_their_items(shop: Path, tmp_path: Path) -> None:
    assert run("score", shop / "m", shop / "new", "--maps", tmp_path / "maps") == 0
    found = sorted(path.relative_to(tmp_path / "maps").as_posix() for path in (tmp_path / "maps").rglob("*.png"))
    assert len(found) == 33 and "lot 7/part3.png" in found and "_script_alert(1)_/script_.png" in found and "cut.png" not in found
    marked = np.asarray(Image.open(tmp_path / "maps" / "marked & _b_bold_" / "b_.png")).astype(int)
    coloured = np.ptp(marked, axis=2) > 20
    assert marked.shape == (8, 8, 3) and coloured[1:3, 5:7].all() and coloured.sum() <= 12


@pytest.mark.parametrize("name", ["../../etc/passwd", "/abs", "a/../../b", "..", "", "a\x00b", "C:\\x", "x" * 400, "\udcff", ".hidden"])
def test_no_name_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    target = (tmp_path / inside(name)).resolve()
    assert target.is_relative_to(tmp_path) and target != tmp_path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_name(target.name + ".png").write_bytes(b"")


def test_links_are_not_followed_out_of_the_folder(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "lot 7").symlink_to(tmp_path / "elsewhere")
    assert run("score", shop / "m", shop / "new", "--maps", tmp_path / "maps") == 1
    assert "a link leads out of" in capsys.readouterr().err and not list((tmp_path / "elsewhere").iterdir())
    shutil.rmtree(tmp_path / "maps")
    (tmp_path / "maps").mkdir()
    (tmp_path / "dear.png").write_text("dear")
    (tmp_path / "maps" / "blank.png").symlink_to(tmp_path / "dear.png")
    assert run("score", shop / "m", shop / "new", "--maps", tmp_path / "maps") == 0
    assert (tmp_path / "dear.png").read_text() == "dear"


def test_items_of_one_name_do_not_write_over_each_other(shop: Path, tmp_path: Path) -> None:
    detector = dd.Detector.load(shop / "m")
    folder = MapFolder(tmp_path / "maps", detector, shop / "new")
    for item, verdict in detector.judge([shop / "new" / "blank.png"] * 2, maps=True):
        folder.add(dd.data.Item("a:b", item.payload), verdict)
        folder.add(dd.data.Item("a?b", item.payload), verdict)
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["a_b.map (2).png", "a_b.map (3).png", "a_b.map.png", "a_b.png"]


def test_a_map_is_called_as_its_picture_and_another_only_where_two_would_collide(shop: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    picture = Image.open(shop / "new" / "blank.png")
    for i, name in enumerate(("a.bmp", "a.png", "b.bmp", "c.left")):
        picture.point(lambda value, i=i: max(value - i, 0)).save(pictures / name, "PNG")
    assert run("score", shop / "m", pictures, "--maps", tmp_path / "maps") == 0
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["a.map.png", "a.png", "b.png", "c.left.png"]
    assert run("score", shop / "m", pictures, "--maps", tmp_path / "maps") == 0
    assert len(list((tmp_path / "maps").iterdir())) == 4


def test_no_picture_is_written_over_by_its_map(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    item = tmp_path / "a.png"
    shutil.copy(shop / "new" / "blank.png", item)
    assert run("score", shop / "m", item, "--maps", tmp_path, "-o", tmp_path / "s.csv") == 1
    assert "a file that is no map of Diffident has that name" in capsys.readouterr().err
    assert item.read_bytes() == (shop / "new" / "blank.png").read_bytes() and not (tmp_path / "s.csv").exists()


REFUSED = {
    "maps of a recipe without": (("score", "{shop}/plain", "{shop}/new", "--maps", "{tmp}/maps", "-o", "{tmp}/old.csv"), "has no map"),
    "maps among the items": (("score", "{shop}/m", "{shop}/new", "--maps", "{shop}/new/maps", "-o", "{tmp}/old.csv"), "would be items next time"),
    "maps below a file": (("score", "{shop}/m", "{shop}/new", "--maps", "{tmp}/old.csv/maps", "-o", "{tmp}/old.csv"), "cannot write maps"),
    "a page that is none": (("score", "{shop}/m", "{shop}/new", "--report", "{tmp}/page.pdf", "-o", "{tmp}/old.csv"), "ends in .html"),
    "a page nowhere": (("score", "{shop}/m", "{shop}/new", "--report", "{tmp}/no/page.html", "-o", "{tmp}/old.csv"), "there is no such folder"),
    "a page that is a folder": (("score", "{shop}/m", "{shop}/new", "--report", "{tmp}/dir.html"), "it is a folder"),
    "explain a folder": (("explain", "{shop}/m", "{shop}/new"), "explain takes one item"),
    "explain what is not there": (("explain", "{shop}/m", "{shop}/nothing.png"), "does not exist"),
    "explain what cannot be read": (("explain", "{shop}/m", "{shop}/new/cut.png", "-o", "{tmp}/e.png"), "cannot read cut.png"),
    "explain into no picture": (("explain", "{shop}/m", "{shop}/new/blank.png", "-o", "{tmp}/e.jpg"), "ends in .png"),
    "explain into nowhere": (("explain", "{shop}/m", "{shop}/new/blank.png", "-o", "{tmp}/no/e.png"), "there is no such folder"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_come_before_the_work(case: str, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old.csv").write_text("dear to somebody")
    (tmp_path / "dir.html").mkdir()
    arguments, said = REFUSED[case]
    assert run(*(argument.format(shop=shop, tmp=tmp_path) for argument in arguments)) == 1
    out, err = capsys.readouterr()
    assert err.startswith("diffident: ") and said in err and not out
    assert (tmp_path / "old.csv").read_text() == "dear to somebody" and not (tmp_path / "e.png").exists()


def test_an_item_is_explained_in_words_numbers_and_a_picture(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("explain", shop / "m", shop / "new" / EVIL, "-o", tmp_path / "e.png") == 0
    told = capsys.readouterr().out
    assert "flag  p=0.0123" in told and "stranger than 80 of 80 references" in told
    assert re.search(r"residual +\S+ +p = 0\.0", told) and "nearest known-good: good" in told
    assert size_of(tmp_path / "e.png")[1] > 700
    assert run("explain", shop / "m", shop / "new" / EVIL, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["decision"] == "flag" and said["evidence"]["residual"] == said["p_value"] and said["out"] is None
    assert run("explain", shop / "plain", shop / "new" / EVIL, "-o", tmp_path / "strip.png") == 0
    assert size_of(tmp_path / "strip.png")[0] > 800


def test_an_item_out_of_depth_is_explained_too(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("explain", shop / "m", shop / "new" / "blank.png", "-o", tmp_path / "e.png") == 0
    assert "abstain" in (told := capsys.readouterr().out) and "blank: contrast 0" in told and (tmp_path / "e.png").exists()
    Image.fromarray(np.full((8, 8), np.nan, np.float32)).save(tmp_path / "nan.tiff")
    assert run("explain", shop / "m", tmp_path / "nan.tiff", "--json", "-o", tmp_path / "n.png") == 0
    assert json.loads(capsys.readouterr().out)["p_value"] is None


def test_a_model_that_is_not_calibrated_shows_its_film_and_gives_no_p(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("explain", shop / "bare", shop / "new" / EVIL, "-o", tmp_path / "e.png") == 0
    told = capsys.readouterr().out
    assert "no p-value: this detector has seen no known-good items" in told and "p = " not in told
    assert size_of(tmp_path / "e.png")[1] > 500
    with pytest.raises(NotCalibrated, match="colours of maps are set by known-good items"):
        MapFolder(tmp_path / "maps", dd.Detector.load(shop / "bare"), shop / "new")


def test_the_verdict_of_an_explanation_is_that_of_the_run(shop: Path) -> None:
    detector = dd.Detector.load(shop / "m")
    found = explain(detector, shop / "new" / "lot 7" / "part3.png")
    (verdict,) = [one for one in detector.judge_all(shop / "new") if one.name == "lot 7/part3.png"]
    assert (found.verdict.p, found.raw) == (verdict.p, verdict.raw)
    np.testing.assert_array_equal(found.verdict.map, detector.scorer.map(shop / "new" / "lot 7" / "part3.png"))


def test_colours_are_even_and_go_from_dark_to_light() -> None:
    linear = np.where(table() / 255 <= 0.04045, table() / 255 / 12.92, ((table() / 255 + 0.055) / 1.055) ** 2.4)
    cones = np.cbrt(linear @ np.array([[0.41222147, 0.53633254, 0.05144599], [0.21190350, 0.68069955, 0.10739696], [0.08830246, 0.28171884, 0.62997870]]).T)
    lab = cones @ np.array([[0.21045426, 0.79361779, -0.00407205], [1.97799850, -2.42859220, 0.45059371], [0.02590404, 0.78277177, -0.80867577]]).T
    steps = np.linalg.norm(lab[16::16] - lab[:-16:16], axis=1)
    assert (np.diff(lab[::8, 0]) > 0).all() and steps.max() < 1.2 * steps.min()


def test_what_is_ordinary_is_left_uncoloured_and_what_is_not_a_number_too() -> None:
    scale = Scale(1.0, 3.0, "")
    painted = paint(np.array([[0.0, 1.0, 1.5], [3.0, 99.0, np.nan]]), scale)
    assert (painted[..., 3] > 0).tolist() == [[False, False, True], [True, True, False]]
    assert (painted[1, 0] == painted[1, 1]).all() and (painted[1, 1, :3] == table()[-1]).all()
    assert paint(np.ones((2, 2)), Scale(1.0, 1.0, ""))[..., 3].max() == 0
    assert legend(scale).size == (256, 12)


def test_the_scale_is_set_by_known_good_items_and_by_nothing_that_is_judged(shop: Path) -> None:
    detector = dd.Detector.load(shop / "m")
    scale = scale_of(detector)
    maps = np.stack([detector.scorer.map(detector.gallery.pictures[i][0]) for i in range(len(detector.gallery))])
    assert (maps <= scale.low).mean() == pytest.approx(0.99, abs=0.002) and maps.max() == pytest.approx(scale.high, rel=0.01)
    bare = dd.Detector(detector.model).fit(shop / "new" / "lot 7", keep=0)
    mean = bare.calibrated.references.values.mean()
    assert scale_of(bare).low == pytest.approx(3 * mean) and "No known-good pictures were kept" in scale_of(bare).says
    assert scale_of(dd.Detector.load(shop / "plain")) is None and scale_of(dd.Detector.load(shop / "bare")) is None


@pytest.mark.parametrize("references", [1, 19, 60, 80, 99, 137, 1000])
def test_p_values_of_good_items_are_drawn_level(references: int) -> None:
    every = np.arange(1, references + 2) / (references + 1)  # each that there is, once: the average delivery of good items
    counts, edges = binned(every.tolist(), references)
    assert counts.sum() == references + 1 and len(counts) <= 20
    np.testing.assert_allclose(counts / np.diff(edges), references + 1)
    tops = {float(y) for y in re.findall(r'class="bar" x="[^"]+" y="([^"]+)"', histogram(every.tolist(), 0.05, references))}
    assert len(tops) == 1, "every bar ends at the same height"


def test_no_name_spoils_a_picture(shop: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"odd \xff \x01 \xe2\x82\xac.png")
    shutil.copy(shop / "new" / "blank.png", tmp_path / name)
    assert run("explain", shop / "m", tmp_path / name, "-o", tmp_path / "e.png") == 0
    (tmp_path / "items").mkdir()
    shutil.copy(tmp_path / name, tmp_path / "items")
    assert run("score", shop / "m", tmp_path / "items", "--report", tmp_path / "p.html", "--maps", tmp_path / "maps", "--strangest", 0) == 0
    assert "odd" in sound(tmp_path / "p.html").words and len(list((tmp_path / "maps").iterdir())) == 1


def test_pictures_grow_by_whole_numbers_and_shrink_to_size() -> None:
    assert sized(Image.new("RGB", (28, 20)), 100).size == (84, 60) and sized(Image.new("RGB", (1000, 500)), 100).size == (100, 50)
    over = overlaid(Image.new("RGB", (8, 8)), np.full((4, 4), 9.0), Scale(0.0, 1.0, ""))
    assert over.size == (8, 8) and len(over.getcolors()) == 1
    assert words("x" * 500, 100).width == 100


def test_python_reports_as_the_command_does(shop: Path, tmp_path: Path) -> None:
    detector = dd.Detector.load(shop / "m")
    verdicts = report(detector, shop / "new", tmp_path / "page.html", dd.Policy(0.05, 0.2), strangest=1)
    page = sound(tmp_path / "page.html")
    assert "abstain above that and up to 0.2" in page.words and "The strangest" in page.words
    assert len(verdicts) == 34 and all(verdict.map is None for verdict in verdicts)
    with pytest.raises(InvalidSetting, match="ends in .html"):
        report(detector, shop / "new", tmp_path / "page.txt")
    with pytest.raises(OutputError, match="no such folder"):
        report(detector, shop / "new", tmp_path / "no" / "page.html")
    with pytest.raises(NotPerElement, match="has no map"):
        dd.Detector.load(shop / "plain").judge(shop / "new", maps=True)


def test_a_page_is_written_whole_or_not_at_all(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.html").write_text("the last one")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError, match="No space left on device; choose another place or make room"):
        report(dd.Detector.load(shop / "m"), shop / "new", tmp_path / "page.html")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"] and (tmp_path / "page.html").read_text() == "the last one"


def browser() -> str:
    """Where a browser without a window is; a test that needs one is skipped without."""
    found = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on this machine: the page's script is not run; install chromium to run this test")
    return found


def test_the_script_of_a_page_runs_without_an_error(shop: Path, tmp_path: Path) -> None:
    program = browser()
    report(dd.Detector.load(shop / "m"), shop / "new", tmp_path / "page.html")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--v=0", "--dump-dom"]
    try:
        done = subprocess.run([program, *flags, f"file://{tmp_path / 'page.html'}"], capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        pytest.skip("Chromium did not answer within 60 s: the page's script was not seen to run")
    assert "34 shown" in done.stdout and "name contains" in done.stdout
    assert "CONSOLE" not in done.stderr, done.stderr
