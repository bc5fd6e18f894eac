"""Images of every kind come out as the numbers they hold; what is no image, or not whole, is refused."""

import io
import json
import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import ImageFile

from diffident import registry
from diffident.calibration.depth import Depth
from diffident.data import Item, Items, digest
from diffident.errors import InvalidSetting, NoItems, TooLarge, UnreadableItem, WrongShape
from diffident.modalities._raster import FORMATS
from diffident.modalities.image import Image

GREY8 = np.random.default_rng(0).integers(0, 256, (12, 10), dtype=np.uint8)
GREY16 = np.random.default_rng(1).integers(0, 65536, (12, 10), dtype=np.uint16)
COLOUR = np.random.default_rng(2).integers(0, 256, (12, 10, 3), dtype=np.uint8)
CLEAR = np.random.default_rng(3).integers(0, 256, (12, 10, 1), dtype=np.uint8)
FLOAT = np.random.default_rng(4).random((12, 10), dtype=np.float32)
CYCLE = (np.arange(120) % 4).reshape(12, 10).astype(np.uint8)


def written(tmp_path, content, name="item"):
    (tmp_path / name).write_bytes(content)
    return Item(name, tmp_path / name)


def saved(picture, format, **settings):
    buffer = io.BytesIO()
    picture.save(buffer, format, **settings)
    return buffer.getvalue()


def expected(shares, channels):
    """Shares of white (h, w) or (h, w, 3) to values (channels, h, w)."""
    planes = np.moveaxis(shares, -1, 0) if shares.ndim == 3 else shares[None]
    if len(planes) > channels:
        planes = (planes * np.array([0.299, 0.587, 0.114])[:, None, None]).sum(0, keepdims=True)
    return np.repeat(2 * planes - 1, channels // len(planes), axis=0)


def assert_agrees(opened, shares, channels, within=1e-6):
    assert opened.values.dtype == np.float32 and opened.values.flags.c_contiguous
    np.testing.assert_allclose(opened.values, expected(np.asarray(shares, dtype=np.float64), channels), atol=within)


def on_white(colour, alpha):
    return colour / 255 * (alpha / 255) + 1 - alpha / 255


def palette(transparency=None):
    picture = PIL.Image.fromarray(CYCLE).convert("P")
    picture.putpalette([255, 0, 0, 0, 255, 0, 10, 20, 30, 90, 90, 90])
    if transparency is not None:
        picture.info["transparency"] = transparency
    return picture


PALETTE = np.array([[255, 0, 0], [0, 255, 0], [10, 20, 30], [90, 90, 90]])
GREY_PICTURE, COLOUR_PICTURE = PIL.Image.fromarray(GREY8), PIL.Image.fromarray(COLOUR)
RGBA = PIL.Image.fromarray(np.concatenate([COLOUR, CLEAR], axis=2))
LA = PIL.Image.merge("LA", (GREY_PICTURE, PIL.Image.fromarray(CLEAR[..., 0])))

EXACT = [
    *(("L", f, {}, GREY_PICTURE, GREY8 / 255, 8) for f in ("PNG", "TIFF", "BMP", "GIF", "PPM")),
    *(("RGB", f, {}, COLOUR_PICTURE, COLOUR / 255, 8) for f in ("PNG", "TIFF", "BMP", "PPM", "QOI")),
    *(("RGB " + how, "TIFF", {"compression": how}, COLOUR_PICTURE, COLOUR / 255, 8) for how in ("tiff_lzw", "tiff_deflate", "packbits")),
    ("RGB", "WEBP", {"lossless": True}, COLOUR_PICTURE, COLOUR / 255, 8),
    *(("RGBA", f, s, RGBA, on_white(COLOUR, CLEAR), 8) for f, s in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True}))),
    *(("LA", f, {}, LA, on_white(GREY8, CLEAR[..., 0]), 8) for f in ("PNG", "TIFF")),
    *(("1", f, {}, PIL.Image.fromarray(GREY8 > 99), GREY8 > 99, 8) for f in ("PNG", "TIFF", "BMP", "PPM")),
    *(("P", f, {}, palette(), PALETTE[CYCLE] / 255, 8) for f in ("PNG", "TIFF", "BMP", "GIF")),
    *(("P clear", f, {"transparency": 1}, palette(), np.where((CYCLE == 1)[..., None], 1, PALETTE[CYCLE] / 255), 8) for f in ("PNG", "GIF")),
    ("P half", "PNG", {"transparency": bytes([255, 51, 255, 0])}, palette(), on_white(PALETTE[CYCLE], np.array([255, 51, 255, 0])[CYCLE][..., None]), 8),
    ("L clear", "PNG", {"transparency": int(GREY8[0, 0])}, GREY_PICTURE, np.where(GREY8[0, 0] == GREY8, 255, GREY8) / 255, 8),
    ("I;16 clear", "PNG", {"transparency": int(GREY16[0, 0])}, PIL.Image.fromarray(GREY16), np.where(GREY16[0, 0] == GREY16, 65535, GREY16) / 65535, 16),
    *(("I;16", f, {}, PIL.Image.fromarray(GREY16), GREY16 / 65535, 16) for f in ("PNG", "TIFF", "PPM")),
    ("I", "TIFF", {}, PIL.Image.fromarray(GREY16.astype(np.int32)), GREY16 / 65535, 16),
    ("F", "TIFF", {}, PIL.Image.fromarray(FLOAT), FLOAT, 32),
    ("F wide", "TIFF", {}, PIL.Image.fromarray(5 * FLOAT - 2), 5 * FLOAT - 2, 32),
    ("CMYK", "TIFF", {}, COLOUR_PICTURE.convert("CMYK"), COLOUR / 255, 8),
]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode, kind, settings, picture, shares, bits", EXACT, ids=[f"{m} {f}" for m, f, *_ in EXACT])
def test_every_lossless_format_and_mode_gives_the_numbers_it_holds(tmp_path, mode, kind, settings, picture, shares, bits, channels):
    content = saved(picture, kind, **settings)
    opened = Image(12, 10, channels).open(written(tmp_path, content))
    assert_agrees(opened, shares, channels)
    assert opened.digest == digest(content)
    assert (opened.vitals["width"], opened.vitals["height"], opened.vitals["bits"]) == (10, 12, bits)
    assert_agrees(Image(12, 10, channels).open(Items.single(picture)[0]), shares, channels) if not settings else None


SMOOTH = np.stack(np.broadcast_arrays(np.arange(48)[:, None] * 5, np.arange(40) * 5, np.uint8(90)), axis=2).astype(np.uint8)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "YCbCr"])
@pytest.mark.parametrize("kind, settings", [("JPEG", {"quality": 95}), ("JPEG", {"quality": 95, "progressive": True}), ("WEBP", {"quality": 95})])
def test_lossy_formats_come_close(tmp_path, mode, kind, settings):
    picture = PIL.Image.fromarray(SMOOTH).convert(mode)
    shares = np.asarray(picture if mode == "L" else PIL.Image.fromarray(SMOOTH)) / 255
    assert_agrees(Image(48, 40, 3).open(written(tmp_path, saved(picture, kind, **settings))), shares, 3, within=0.1)


def test_of_16_bit_colour_the_upper_8_bits_are_read(tmp_path):
    pixels = b"".join(b"\0" + bytes(COLOUR[y].repeat(2, axis=1).tolist()[x][c] for x in range(10) for c in range(6)) for y in range(12))
    opened = Image(12, 10, 3).open(written(tmp_path, png(10, 12, 16, 2, pixels)))
    assert_agrees(opened, COLOUR / 255, 3)
    assert opened.vitals["bits"] == 8


TURNED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: np.rot90,
    7: lambda a: np.rot90(a, 2).T,
    8: lambda a: np.rot90(a, 3),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", TURNED)
def test_pictures_are_turned_upright(tmp_path, kind, orientation):
    upright = np.add.outer(np.arange(16) * 3, np.arange(8) * 20).astype(np.uint8)
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    stored_as = PIL.Image.fromarray(np.ascontiguousarray(TURNED[orientation](upright)))
    content = saved(stored_as, kind, exif=exif, **({"quality": 98} if kind in ("JPEG", "WEBP") else {}))
    opened = Image(16, 8).open(written(tmp_path, content))
    assert (opened.vitals["height"], opened.vitals["width"]) == (16, 8)
    assert_agrees(opened, upright / 255, 1, within=0.08)


def test_of_several_pages_the_first_is_read(tmp_path):
    pages = [GREY_PICTURE, PIL.Image.new("L", (10, 12), 7)]
    for kind in ("TIFF", "GIF"):
        assert_agrees(Image(12, 10).open(written(tmp_path, saved(pages[0], kind, save_all=True, append_images=pages[1:]))), GREY8 / 255, 1)


@pytest.mark.parametrize(
    "array, shares, bits",
    [
        (GREY8, GREY8 / 255, 8),
        (GREY8[..., None], GREY8 / 255, 8),
        (GREY8 > 99, GREY8 > 99, 8),
        (GREY16, GREY16 / 65535, 16),
        (GREY16.astype(">u2"), GREY16 / 65535, 16),
        (FLOAT, FLOAT, 32),
        (FLOAT.astype(np.float64) * 9 - 4, FLOAT * 9.0 - 4, 32),
        (FLOAT.astype(np.float16), FLOAT.astype(np.float16), 32),
        (COLOUR, COLOUR / 255, 8),
        (COLOUR[:, ::-1], COLOUR[:, ::-1] / 255, 8),
        (np.concatenate([COLOUR, CLEAR], 2), on_white(COLOUR, CLEAR), 8),
        (np.concatenate([COLOUR, np.full_like(CLEAR, 255)], 2), COLOUR / 255, 8),
        (np.stack([FLOAT, FLOAT.T.reshape(12, 10)], 2), FLOAT * FLOAT.T.reshape(12, 10) + 1 - FLOAT.T.reshape(12, 10), 32),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_arrays_give_the_numbers_they_hold(array, shares, bits, channels):
    before = array.copy()
    opened = Image(12, 10, channels).open(Item("array", array))
    assert_agrees(opened, shares, channels, within=2e-6)
    assert opened.vitals["bits"] == bits and np.array_equal(array, before)


@pytest.mark.parametrize(
    "array, words",
    [
        (np.zeros((3, 28, 28)), r"\(3, 28, 28\)"),
        (np.zeros(5), r"\(5,\)"),
        (np.zeros((0, 5)), r"\(0, 5\)"),
        (np.zeros((5, 5, 0)), r"\(5, 5, 0\)"),
        (np.zeros((2, 2), dtype=np.int64), "int64.*uint8"),
        (np.zeros((2, 2), dtype=np.uint32), "uint32"),
        (np.zeros((2, 2), dtype=complex), "complex128"),
        (np.full((2, 2), "text"), "<U4"),
        (np.full((2, 2), None), "object"),
    ],
)
def test_arrays_that_are_no_image_are_refused_by_name(array, words):
    with pytest.raises(UnreadableItem, match=f"(?s)cannot read thing: .*{words}"):
        Image(8, 8).open(Item("thing", array))


def test_whole_numbers_beyond_16_bits_are_refused(tmp_path):
    for wrong in (65536, -1):
        numbers = np.array([[0, wrong]], dtype=np.int32)
        with pytest.raises(UnreadableItem, match=f"(?s){wrong}.*no agreed white"):
            Image(8, 8).open(written(tmp_path, saved(PIL.Image.fromarray(numbers), "TIFF")))


def test_a_mode_without_meaning_in_colour_is_refused(tmp_path):
    with pytest.raises(UnreadableItem, match="mode LAB"):
        Image(8, 8).open(written(tmp_path, saved(PIL.Image.new("LAB", (4, 4)), "TIFF")))


def test_reducing_averages_and_keeping_the_size_keeps_the_numbers():
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (64, 32))
    assert np.abs(Image(16, 16).open(Item("stripes", stripes)).values).max() < 0.1  # without an antialiased filter: -1 or 1
    assert np.array_equal(Image(64, 64).open(Item("stripes", stripes)).values[0], np.where(stripes, 1, -1))
    assert Image(9, 5, 3).open(Item("dot", np.ones((1, 1)))).values.tolist() == np.ones((3, 9, 5)).tolist()


def test_a_flat_image_stays_flat_at_every_size():
    for value in (0, 1, 77, 255):
        opened = Image(17, 13, 3).open(Item("flat", np.full((100, 31, 3), value, dtype=np.uint8)))
        np.testing.assert_allclose(opened.values, 2 * value / 255 - 1, atol=1e-6)
        assert opened.vitals["contrast"] == 0


def test_a_picture_is_opened_as_the_values_it_shows():
    for channels in (1, 3):
        kind = Image(12, 10, channels)
        values = np.random.default_rng(0).uniform(-1, 1, kind.shape).astype(np.float32)
        again = kind.open(Items.single(kind.picture(values))[0]).values
        np.testing.assert_allclose(again, values, atol=1 / 255 + 1e-6)
    wild = np.array([[[np.nan, np.inf, -np.inf, 9]]])
    assert np.asarray(Image(8, 8).picture(wild)).tolist() == [[0, 255, 0, 255]]
    with pytest.raises(WrongShape, match=r"\(2, 3, 3\)"):
        Image(8, 8).picture(np.zeros((2, 3, 3)))


# what bad input gets


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, depth, colour, rows):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "content",
    [b"hello, I am a text\n" * 9, b"x", b"PK\x03\x04" + bytes(99), bytes(500), b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\x89PNG\r\n\x1a\n"],
)
def test_what_is_no_image_is_refused_with_its_name(tmp_path, content):
    with pytest.raises(UnreadableItem, match=f"cannot read notes.txt: its {len(content)} bytes"):
        Image(8, 8).open(written(tmp_path, content, "notes.txt"))


def test_noise_is_never_taken_for_an_image(tmp_path):
    chance = np.random.default_rng(0)
    for start in (b"", b"BM", b"P5 ", b"GIF89a", b"II*\0", b"\xff\xd8\xff\xe0", b"qoif"):
        for _ in range(40):
            with pytest.raises((UnreadableItem, TooLarge)), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow says of some noise that its EXIF block is damaged
                Image(8, 8).open(written(tmp_path, start + chance.bytes(300)))


def test_an_empty_file_and_an_image_of_no_size_are_refused(tmp_path):
    with pytest.raises(UnreadableItem, match="0 bytes"):
        Image(8, 8).open(written(tmp_path, b""))
    for width, height in ((0, 5), (5, 0), (0, 0)):
        with pytest.raises(UnreadableItem, match="cannot read item"):
            Image(8, 8).open(written(tmp_path, png(width, height, 8, 0, b"")))


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("width, height", [(9500, 9500), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_before_it_is_decoded_and_without_a_warning(tmp_path, width, height, strict):
    item, limit = written(tmp_path, png(width, height, 8, 2, bytes(1000))), PIL.Image.MAX_IMAGE_PIXELS
    tracemalloc.start()
    with warnings.catch_warnings(record=not strict) as said, pytest.raises(TooLarge, match=f"item has {width} x {height} = {width * height:,} pixels"):
        warnings.simplefilter("error" if strict else "always")
        Image(8, 8).open(item)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not said and peak < 10e6
    assert limit == PIL.Image.MAX_IMAGE_PIXELS


def test_the_limit_on_pixels_is_the_one_set_in_pillow(tmp_path, monkeypatch):
    item = written(tmp_path, saved(GREY_PICTURE, "PNG"))
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 120)
    assert_agrees(Image(12, 10).open(item), GREY8 / 255, 1)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 119)
    with pytest.raises(TooLarge, match="at most 119"):
        Image(12, 10).open(item)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", None)
    assert_agrees(Image(12, 10).open(item), GREY8 / 255, 1)


def test_a_very_wide_image_and_a_single_pixel_are_read(tmp_path):
    wide = PIL.Image.linear_gradient("L").resize((20_000, 30))
    opened = Image(8, 8, 3).open(written(tmp_path, saved(wide.convert("RGB"), "PNG")))
    assert opened.values.shape == (3, 8, 8) and opened.vitals["width"] == 20_000
    opened = Image(8, 8).open(written(tmp_path, saved(PIL.Image.new("L", (1, 1), 255), "PNG")))
    assert (opened.values == 1).all() and opened.vitals["height"] == 1


WHOLE = [
    *((GREY_PICTURE, f, {}) for f in ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")),
    *((COLOUR_PICTURE, f, {}) for f in ("PNG", "TIFF", "BMP", "WEBP", "PPM", "QOI", "AVIF")),
    (PIL.Image.fromarray(GREY16), "PNG", {}),
    (palette(), "PNG", {}),
    (COLOUR_PICTURE, "JPEG", {"progressive": True}),
    (COLOUR_PICTURE, "WEBP", {"lossless": True}),
]


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow says of a cut TIFF that its EXIF block is damaged
@pytest.mark.parametrize("picture, kind, settings", WHOLE, ids=[f"{p.mode} {f} {' '.join(s)}" for p, f, s in WHOLE])
def test_a_file_cut_short_is_refused_wherever_it_is_cut(tmp_path, picture, kind, settings):
    if kind not in PIL.Image.SAVE:
        pytest.skip(f"this Pillow cannot write {kind}")
    content, image = saved(picture, kind, **settings), Image(12, 10, 3)
    whole, refused = image.open(written(tmp_path, content)).values, 0
    for cut in range(1, len(content), max(1, len(content) // 120)):
        try:
            opened = image.open(written(tmp_path, content[:cut]))
        except UnreadableItem as refusal:
            refused += 1
            assert "item" in str(refusal)
        else:  # only what lies behind the last pixel is lacking
            assert np.array_equal(opened.values, whole)
    assert refused >= min(90, 0.75 * len(content))


def test_a_larger_jpeg_cut_short_or_ending_in_zeros_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    for settings in ({}, {"progressive": True}, {"restart_marker_rows": 2}):
        content = saved(PIL.Image.fromarray(noise), "JPEG", **settings)
        for share in (0.02, 0.1, 0.5, 0.9, 0.999):
            for tail in (b"", bytes(len(content) - int(share * len(content)))):
                with pytest.raises(UnreadableItem, match="cut short|zeros"):
                    Image(8, 8).open(written(tmp_path, content[: int(share * len(content))] + tail))
        padded = Image(8, 8).open(written(tmp_path, content + bytes(512)))  # whole, with zeros behind its end
        assert np.array_equal(padded.values, Image(8, 8).open(written(tmp_path, content)).values)


def test_a_png_with_a_bit_flipped_is_never_read_as_another_image(tmp_path):
    content, wrong = saved(COLOUR_PICTURE, "PNG"), 0
    for place in range(8, len(content) - 4, 5):
        damaged = bytearray(content)
        damaged[place] ^= 16
        try:
            opened = Image(12, 10, 3).open(written(tmp_path, bytes(damaged)))
        except (UnreadableItem, TooLarge):
            wrong += 1
        else:
            assert_agrees(opened, COLOUR / 255, 3)
    assert wrong > 50


def test_pillow_may_not_be_told_to_open_what_is_cut_short(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(InvalidSetting, match="LOAD_TRUNCATED_IMAGES.*set it to False"):
        Image(8, 8).open(written(tmp_path, saved(GREY_PICTURE, "PNG")))


def test_damaged_notes_of_the_camera_do_not_cost_the_picture(tmp_path):
    content = saved(COLOUR_PICTURE, "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12" * 9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_agrees(Image(12, 10, 3).open(written(tmp_path, content)), COLOUR / 255, 3)


# vitals and limits


def test_vitals_say_what_was_stored_before_it_was_brought_to_size():
    half = np.zeros((40, 20, 3), dtype=np.uint8)
    half[:20] = 255
    half[0] = [255, 0, 0]
    vitals = Image(8, 8).open(Item("half", half)).vitals
    red = np.where(np.arange(40) < 20, 1.0, 0)
    other = np.where((np.arange(40) < 20) & (np.arange(40) > 0), 1.0, 0)
    plain = ("width", "height", "bits", "finite", "contrast", "black", "white", "colour")
    assert {name: vitals[name] for name in plain} == pytest.approx(
        {
            "width": 20,
            "height": 40,
            "bits": 8,
            "finite": 1,
            "contrast": np.sqrt((red.var() + 2 * other.var()) / 3),
            "black": 0.5,
            "white": 19 / 40,
            "colour": 1 / 40,
        }
    )
    assert all(type(value) is float for value in vitals.values())
    assert Image(8, 8).open(Item("float", np.array([[-1, 0, 0.5, 1, 2.0]]))).vitals["black"] == 0.4
    assert Image(8, 8).open(Item("bool", np.eye(2, dtype=bool))).vitals["white"] == 0.5


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3), (8, 8, 4)])
def test_pixels_that_are_no_numbers_are_counted_and_pass_through(wrong, shape):
    array = np.full(shape, 0.5)
    array[0, 0] = wrong
    opened = Image(8, 8).open(Item("holes", array))
    assert opened.vitals["finite"] == 63 / 64 and opened.vitals["contrast"] == 0 and opened.vitals["colour"] == 0
    assert np.isfinite(opened.values).sum() == 63
    assert not np.isfinite(Image(4, 4).open(Item("holes", array)).values).all()
    nothing = Image(8, 8).open(Item("nothing", np.full(shape, wrong))).vitals
    assert nothing["finite"] == 0 and all(np.isfinite(value) for value in nothing.values())


def test_numbers_beyond_single_precision_are_not_finite():
    assert Image(2, 2).open(Item("huge", np.array([[1e300, 0.5]]))).vitals["finite"] == 0.5
    assert Image(2, 2).open(Item("large", np.array([[3e38, -3e38]]))).vitals["finite"] == 1


pictures = arrays.arrays(
    st.sampled_from([np.uint8, np.uint16, np.float32]),
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 3, 4])),
    elements=None,
    fill=st.nothing(),
)


@given(st.lists(pictures, min_size=1, max_size=5))
def test_a_known_good_image_is_never_out_of_depth(found):
    image = Image(4, 4)
    vitals = [one for one in (image.open(Item("good", np.asarray(array))).vitals for array in found) if one["finite"] == 1]
    depth = Depth(image.limits(vitals)) if vitals else Depth()
    assert [depth.check(one) for one in vitals] == [""] * len(vitals)
    again = Depth.from_config(json.loads(json.dumps(depth.to_config())))
    assert again == depth


def test_what_lies_outside_the_known_good_is_said_in_plain_words():
    chance = np.random.default_rng(0)
    good = [chance.integers(20, 200, (32, 32), dtype=np.uint8) for _ in range(20)]
    image = Image(32, 32)

    def vitals(array):
        return image.open(Item("x", array)).vitals

    depth = Depth(image.limits([vitals(one) for one in good]))
    saturated, dark, hole, red = good[0].copy(), good[0].copy(), good[0] / 255, np.zeros((32, 32, 3), dtype=np.uint8)
    saturated[:20], dark[:20], hole[3, 3], red[..., 0] = 255, 0, np.nan, good[0]
    for array, words in (
        (chance.integers(20, 200, (41, 32), dtype=np.uint8), "wrong size: height 41"),
        (chance.integers(20, 200, (32, 25), dtype=np.uint8), "wrong size: width 25"),
        (np.ones((1, 1), dtype=np.uint8), "wrong size"),
        (good[0].astype(np.uint16) * 257, "wrong bit depth: bits 16"),
        (np.full((32, 32), 90, dtype=np.uint8), "blank: contrast 0"),
        (saturated, "saturated: white 0.625"),
        (dark, "saturated: black 0.625"),
        (hole, "not finite"),
        (red, "in colour, and the known-good are grey"),
    ):
        assert depth.check(vitals(array)).startswith(words)
    assert depth.check(vitals(chance.integers(20, 200, (40, 26), dtype=np.uint8))) == ""
    colourful = Depth(image.limits([vitals(red)]))
    assert colourful.check(vitals(np.minimum(red * 3.0 / 255, 1))).startswith("wrong bit depth")


def test_a_blank_image_among_the_known_good_makes_blank_ordinary():
    image = Image(8, 8)
    vitals = [image.open(Item("x", one)).vitals for one in (np.zeros((8, 8)), np.eye(8))]
    assert "contrast" not in [limit.name for limit in image.limits(vitals)]
    with pytest.raises(NoItems, match="no known-good image"):
        image.limits([{}])


# settings


def test_settings_are_learned_from_the_items():
    def stack(*shape):
        return Items.open(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))

    assert Image.learn(stack(9, 28, 28)) == Image(28, 28, 1, 8)
    assert Image.learn(stack(9, 30, 20, 3)) == Image(30, 20, 3, 8)
    assert Image.learn(stack(2, 100, 90)) == Image(64, 64, 1)
    assert Image.learn(stack(2, 100, 90, 3), size=100, channels=1) == Image(100, 100, 1)
    assert Image.learn(stack(2, 9, 9), size=(20, 30), channels=3) == Image(20, 30, 3)
    assert Image.learn(Items.open([GREY8, GREY16, COLOUR, np.zeros((20, 5))])) == Image(20, 10, 3, 32)
    grey = np.repeat(GREY8[None, ..., None], 3, axis=3)
    assert Image.learn(Items.open(grey)).channels == 1


def test_items_that_cannot_be_read_are_skipped_while_learning(tmp_path):
    text = written(tmp_path, b"no image", "notes.txt")
    assert Image.learn(Items((text, Item("good", GREY8)))) == Image(12, 10)
    with pytest.raises(NoItems, match=r"none of 9 .*notes.txt.*\|.*notes.txt.*\|.*notes.txt[^|]*$"):
        Image.learn(Items((text,) * 9))


def test_learning_looks_at_a_sample_of_many_items():
    looked = []

    class Counted(Item):
        def load(self):
            looked.append(self.name)
            return GREY8

    Image.learn(Items(tuple(Counted(str(i), GREY8) for i in range(5000))))
    assert len(looked) == 256 and looked[0] == "0" and looked[-1] == "4999"


@pytest.mark.parametrize("size", [1, 0, -3, 4097, (64, 1), (64,), (1, 2, 3)])
def test_a_size_that_cannot_be_is_refused(size):
    with pytest.raises(InvalidSetting, match="size|height|width"):
        Image.learn(Items.open(np.zeros((2, 8, 8))), size=size)


def test_settings_outside_their_range_are_refused():
    for settings, words in (((1, 8), "height"), ((8, 4097), "width"), ((8, 8, 2), "channels"), ((8, 8, 1, 12), "bits")):
        with pytest.raises(InvalidSetting, match=words):
            Image(*settings)
    with pytest.raises(InvalidSetting, match="channels"):
        Image.learn(Items.open(np.zeros((2, 8, 8))), channels=4)


def test_settings_survive_as_plain_data_under_a_registered_name():
    image = Image(20, 30, 3, 16)
    config = json.loads(json.dumps(image.config()))
    assert config == {"name": "image", "height": 20, "width": 30, "channels": 3, "bits": 16}
    assert registry.find("modalities", config["name"]) is Image and Image.from_config(config) == image and image.shape == (3, 20, 30)
    with pytest.raises(InvalidSetting, match="colour"):
        Image.from_config({**config, "colour": True})


def test_every_format_that_is_named_is_known_to_pillow():
    PIL.Image.init()
    assert set(FORMATS) <= set(PIL.Image.OPEN)
