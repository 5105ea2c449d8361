"""The page: everything in one file, hostile names as text, at most as large as it may be; in a real browser too."""

from __future__ import annotations

import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asgmcli.media.write import write_clip
from asgmcli.report.page import Page, Picture, Section, Shown, fit, jpeg_of, read_picture, render
from asgmcli.report.table import Table
from tests.browser import started

HOSTILE = """<script>document.title='taken'</script>"><img src=x onerror="document.title='taken'">'&amp;"""


class Parts(HTMLParser):
    """The tags of a page with their attributes, and what is text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def picture(side: int = 8) -> Picture:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)).save(out, "PNG")
    return Picture(out.getvalue(), HOSTILE, HOSTILE)


def clip(folder: Path) -> Shown:
    frames = np.random.default_rng(1).integers(0, 255, (12, 64, 96, 3), dtype=np.uint8)
    sound = np.sin(np.arange(16_000) / 10).astype(np.float32) / 2
    write_clip(folder / "clip.mp4", frames, 12.0, sound)
    mp4 = (folder / "clip.mp4").read_bytes()
    return Shown(HOSTILE, [HOSTILE], mp4, jpeg_of(frames[0]), [picture()], {HOSTILE: HOSTILE}, True)


def page(folder: Path) -> Page:
    table = Table(HOSTILE, ["class", HOSTILE], [[HOSTILE, 12.5], ["b", None]], note=HOSTILE, bold=frozenset({1}))
    sections = [
        Section("Result", [HOSTILE], [table]),
        Section("Nothing"),
        Section(HOSTILE, pictures=[picture()], clips=[clip(folder), Shown("no video", good=False)]),
        Section("Repeat", commands=[HOSTILE], folded={"recipe": HOSTILE}),
    ]
    return Page(HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, [HOSTILE], sections)


def test_hostile_names_are_text_and_nothing_is_fetched(tmp_path: Path) -> None:
    html = render(page(tmp_path))
    parts = Parts(html)
    assert not parts.of("script")
    assert not [name for _, attributes in parts.tags for name in attributes if name.startswith("on")]
    addresses = [a[key] or "" for _, a in parts.tags for key in ("src", "href", "poster") if key in a]
    assert len(addresses) > 6
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert parts.text.count("<script>document.title='taken'</script>") > 10
    assert "default-src 'none'" in str(parts.of("meta"))


def test_its_structure_serves_keyboards_and_screen_readers(tmp_path: Path) -> None:
    parts = Parts(render(page(tmp_path)))
    assert parts.of("html") == [{"lang": "en"}]
    assert [len(parts.of(name)) for name in ("h1", "main", "nav", "h2")] == [1, 1, 1, 3]  # the empty section is none
    targets = {attributes.get("id") for _, attributes in parts.tags}
    assert {(link["href"] or "")[1:] for link in parts.of("a")} <= targets
    assert parts.of("a")[0] == {"class": "skip", "href": "#content"}
    assert all(image["alt"] for image in parts.of("img"))
    (video,) = parts.of("video")
    assert {"controls", "loop", "aria-label", "poster"} <= video.keys()
    assert [cell["scope"] for cell in parts.of("th")] == ["col", "col", "row", "row"]
    assert all(region["tabindex"] == "0" for region in parts.of("div") if region.get("role") == "region")
    assert "No video here." in parts.text
    assert "One of the worst" in parts.text


def test_what_has_no_room_is_left_out_and_said(tmp_path: Path) -> None:
    shown = Shown("a", mp4=bytes(300), poster=bytes(300), pictures=[Picture(bytes(300), "x")])
    found = Page("t", "", {}, [], [Section("1", clips=[shown]), Section("2", pictures=[Picture(bytes(600), "y")])])
    fitted, left = fit(found, 1600)  # a figure and a video of 800 bytes each, as base64
    assert left == 1
    assert fitted.sections[1].pictures
    assert fitted.sections[0].clips[0].mp4
    assert not fitted.sections[0].clips[0].pictures
    assert fit(found, 1599)[1] == 1  # the video goes, its smaller picture stays
    html = render(found, 1_000_100)
    assert "3 pictures or videos were left out: a page has at most 1 MB." in html


def test_a_picture_is_made_narrow_and_small(tmp_path: Path) -> None:
    wide = np.zeros((100, 3280, 3), dtype=np.uint8)
    wide[:, ::7] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    found = read_picture(tmp_path / "wide.png", "stripes")
    with Image.open(io.BytesIO(found.png)) as image:
        assert (image.size, image.format, image.mode) == ((1640, 50), "PNG", "P")


@pytest.mark.long
def test_a_browser_shows_it_without_an_error(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(render(page(tmp_path)), encoding="utf-8")
    with started(tmp_path / "profile") as browser:
        browser.open((tmp_path / "page.html").as_uri())
        assert browser.evaluate("document.title") == HOSTILE
        assert browser.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        browser.wait_for("[...document.querySelectorAll('video')].every(v => v.readyState >= 2 && v.duration > 0.9)")
        browser.evaluate("document.querySelector('video').play()")
        browser.wait_for("document.querySelector('video').currentTime > 0.05")
        for link in range(browser.evaluate("document.querySelectorAll('nav a').length")):
            browser.evaluate(f"document.querySelectorAll('nav a')[{link}].click()")
            assert browser.evaluate("document.querySelector(location.hash) !== null")
        browser.evaluate("scrollTo(0, 0); document.activeElement.blur()")
        browser.open((tmp_path / "page.html").as_uri())
        browser.press("Tab")
        assert browser.evaluate("document.activeElement.textContent") == "Skip to the results"
        browser.press("Tab")
        assert browser.evaluate("document.activeElement.textContent") == "Result"
        backs = []
        for width, dark in ((1200, False), (380, True)):
            browser.look(width, dark)
            assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
            backs.append(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert backs == ["rgb(255, 255, 255)", "rgb(20, 23, 29)"]
        spoken = [" ".join(text.split()) for text in browser.names("image")]
        assert len(spoken) == 2
        assert all(text.startswith("<script>") for text in spoken)
        assert (browser.log, [name for name in browser.requested if not name.startswith("file:")]) == ([], [])
