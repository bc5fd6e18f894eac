"""Items are found, named and read as promised; splits leak nothing."""

import dataclasses
import hashlib
import os
import random
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffident import data
from diffident.data import Item, Items, digest, split
from diffident.errors import InvalidSetting, NoItems, TooFewItems, TooLarge, UnreadableItem, WrongShape


def names(source):
    return [item.name for item in Items.open(source)]


def make(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode())
    return folder


def test_a_folder_is_searched_deeply_in_natural_order_without_hidden_files(tmp_path):
    make(tmp_path, "img10.png", "img2.png", "IMG1.png", "b/deep/x.txt", "b/1.png", ".hidden.png", ".git/config", "b/.DS_Store", "img02.png")
    assert names(tmp_path) == ["b/1.png", "b/deep/x.txt", "IMG1.png", "img02.png", "img2.png", "img10.png"]
    assert names(str(tmp_path)) == names(tmp_path)


def test_items_of_a_folder_hold_what_their_files_hold(tmp_path):
    for item in Items.open(make(tmp_path, "a/b/c.png", "d.png")):
        assert item.load() == item.name.encode()


def test_nothing_is_read_before_an_item_is_loaded(tmp_path):
    items = Items.open(make(tmp_path, "a.png"))
    (tmp_path / "a.png").write_bytes(b"later")
    assert items[0].load() == b"later"
    (tmp_path / "a.png").unlink()
    with pytest.raises(UnreadableItem, match=r"a\.png: No such file"):
        items[0].load()


def test_a_hidden_folder_that_is_asked_for_is_opened(tmp_path):
    assert names(make(tmp_path / ".parts", "a.png")) == ["a.png"]


def test_links_are_followed_and_loops_end(tmp_path):
    make(tmp_path / "shelf", "a.png", "sub/b.png")
    (tmp_path / "shelf/sub/up").symlink_to(tmp_path / "shelf")
    (tmp_path / "shelf/self").symlink_to("self")
    (tmp_path / "shelf/link.png").symlink_to("a.png")
    assert names(tmp_path / "shelf") == ["a.png", "link.png", "self", "sub/b.png"]
    make(tmp_path / "elsewhere", "c.png")
    (tmp_path / "shelf/far").symlink_to(tmp_path / "elsewhere")
    assert "far/c.png" in names(tmp_path / "shelf")
    with pytest.raises(UnreadableItem, match="self"):
        next(item for item in Items.open(tmp_path / "shelf") if item.name == "self").load()


def test_a_single_file_goes_by_its_name(tmp_path):
    assert names(make(tmp_path, "a/b.png") / "a/b.png") == ["b.png"]


def test_a_list_takes_files_folders_arrays_and_pictures_together(tmp_path):
    make(tmp_path, "x/2.png", "x/1.png", "y.png")
    source = [tmp_path / "y.png", str(tmp_path / "x"), np.zeros((4, 5)), PIL.Image.new("RGB", (3, 2)), Item("mine", np.ones((1, 1)))]
    root = tmp_path.as_posix()
    assert names(source) == [f"{root}/y.png", f"{root}/x/1.png", f"{root}/x/2.png", "array[2]", "image[3]", "mine"]
    assert Items.open(source)[4].load().size == (3, 2)


def test_a_missing_file_in_a_list_is_found_out_when_it_is_read(tmp_path):
    items = Items.open([tmp_path / "gone.png", make(tmp_path, "here.png") / "here.png"])
    assert items[1].load() == b"here.png"
    with pytest.raises(UnreadableItem, match="gone"):
        items[0].load()


def test_an_array_becomes_views_that_cannot_be_written():
    array = np.arange(24.0).reshape(2, 3, 4)
    items = Items.open(array)
    assert [item.name for item in items] == ["array[0]", "array[1]"]
    assert np.shares_memory(items[1].load(), array) and np.array_equal(items[1].load(), array[1])
    with pytest.raises(ValueError, match="read-only"):
        items[1].load()[0] = 1
    assert array.flags.writeable
    assert len(Items.open(np.zeros((5, 8, 8, 3)))) == 5


def test_a_slice_is_items_again_and_items_are_taken_as_they_are():
    items = Items.open(np.zeros((5, 8, 8)))
    assert isinstance(items[1:3], Items) and [item.name for item in items[1:3]] == ["array[1]", "array[2]"]
    assert Items.open(items) is items and Items.open(list(items)) == items
    assert items[-1].name == "array[4]" and len(items[9:]) == 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        items.entries = ()


@pytest.mark.parametrize(
    "array, words",
    [
        (np.zeros((28, 28)), r"\(28, 28\).*array\[None\]"),
        (np.zeros(28), r"\(28,\)"),
        (np.zeros((48, 64, 3)), r"\(48, 64, 3\).*single image with 3 channels.*array\[None\]"),
        (np.zeros((7, 3, 64, 64)), r"\(7, 3, 64, 64\).*channels come last"),
        (np.zeros((2, 2, 2, 2, 2)), r"\(2, 2, 2, 2, 2\)"),
        (np.array([np.zeros((2, 2)), None], dtype=object), "object.*as a list"),
    ],
)
def test_an_array_that_is_no_stack_is_refused_with_its_shape(array, words):
    with pytest.raises(WrongShape, match=words):
        Items.open(array)


@pytest.mark.parametrize("source", [[], (), np.zeros((0, 8, 8)), Items(())])
def test_nothing_to_work_on_is_refused(source):
    with pytest.raises(NoItems, match="empty"):
        Items.open(source)


def test_an_empty_folder_and_a_path_that_does_not_exist_are_told_apart(tmp_path):
    make(tmp_path, "e/.hidden")
    with pytest.raises(NoItems, match=r"e: it is empty"):
        Items.open(tmp_path / "e")
    with pytest.raises(NoItems, match=r"nowhere: it does not exist"):
        Items.open(tmp_path / "nowhere")
    with pytest.raises(NoItems, match="does not exist"):
        Items.open("a\0b")


@pytest.mark.parametrize("source", [7, None, b"bytes", iter([]), [[1, 2]], [np.zeros((2, 2)), 3.0]])
def test_other_things_are_refused_in_words(source):
    with pytest.raises(InvalidSetting, match="cannot take items from a .*give paths, numpy arrays or Pillow images"):
        Items.open(source)


@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: [t]])
def test_a_tensor_is_refused_with_the_way_out(wrap):
    with pytest.raises(InvalidSetting, match=r"Tensor.*permute\(0, 2, 3, 1\)\.numpy\(\)"):
        Items.open(wrap(torch.zeros(2, 1, 8, 8)))


def test_a_single_item_may_be_a_file_an_array_a_picture_or_an_item(tmp_path):
    array, item = np.zeros((4, 4)), Item("mine", np.zeros((2, 2)))
    assert [Items.single(one)[0].name for one in (tmp_path / "a.png", "b.png", array, PIL.Image.new("L", (2, 2)), item)] == [
        "a.png",
        "b.png",
        "array",
        "image",
        "mine",
    ]
    assert Items.single(item)[0] is item and Items.single(Items.single(item))[0] is item


def test_files_that_cannot_be_read_say_why(tmp_path, monkeypatch):
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("empty", "0 bytes"), ("pipe", "not a regular file"), ("", "a folder"), ("gone", "No such file")):
        with pytest.raises(UnreadableItem, match=words):
            Item(name, tmp_path / name).load()
    with pytest.raises(UnreadableItem, match="null"):
        Item("odd", Path("a\0b")).load()

    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UnreadableItem, match="secret: Permission denied"):
        Item("secret", make(tmp_path, "secret") / "secret").load()


def test_a_folder_that_may_not_be_listed_is_an_item_that_cannot_be_read(tmp_path, monkeypatch):
    make(tmp_path, "a.png", "locked/b.png")
    listed = os.listdir

    def refuse(folder):
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(os, "listdir", refuse)
    assert names(tmp_path) == ["a.png", "locked"]
    with pytest.raises(UnreadableItem, match="locked"):
        Items.open(tmp_path)[1].load()


def test_a_file_larger_than_memory_allows_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "film").open("wb") as file:
        file.truncate(data.LARGEST + 1)  # sparse: takes no room
    with pytest.raises(TooLarge, match="2,147,483,649 bytes"):
        Item("film", tmp_path / "film").load()


def test_a_name_that_is_no_unicode_can_still_be_written(tmp_path):
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.png")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes names in Unicode only")
    assert names(tmp_path) == ["bad\\udcff.png"]
    assert Items.open(tmp_path)[0].load() == b"x"


def test_a_digest_tells_contents_apart_and_nothing_else():
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert digest(b"abc") == hashlib.sha256(b"abc").hexdigest()
    assert digest(array) == digest(np.asfortranarray(array)) == digest(array.copy())
    others = [array.T, array.reshape(3, 2), array.astype(np.int8), array.astype(np.uint16), array + 1, array[:1]]
    assert len({digest(one) for one in [array, *others]}) == 7


contents = st.lists(st.integers(0, 40).map(str), min_size=2, max_size=120).filter(lambda found: len(set(found)) > 1)
shares, fewest, seeds = st.floats(0.05, 0.95), st.integers(1, 120), st.integers(0, 99)


@given(contents, shares, fewest, seeds)
def test_a_split_uses_every_item_once_and_keeps_identical_content_together(digests, share, at_least, seed):
    learn, reference = split(digests, digests, share, at_least, seed)
    assert sorted([*learn, *reference]) == list(range(len(digests)))
    assert len(learn) and len(reference)
    assert not {digests[i] for i in learn} & {digests[i] for i in reference}
    assert list(learn) == sorted(learn) and list(reference) == sorted(reference)


@given(contents, shares, fewest, seeds, st.randoms())
def test_a_split_depends_on_contents_and_not_on_their_order(digests, share, at_least, seed, chance: random.Random):
    shuffled = chance.sample(digests, len(digests))
    sides = [
        {digests[i] for i in split(digests, digests, share, at_least, seed)[1]},
        {shuffled[i] for i in split(shuffled, shuffled, share, at_least, seed)[1]},
    ]
    assert sides[0] == sides[1]


@given(st.integers(2, 500), shares, fewest, seeds)
def test_a_split_holds_out_exactly_what_was_promised_when_contents_differ(n, share, at_least, seed):
    digests = [str(i) for i in range(n)]
    wanted = max(round(share * n), at_least) if at_least <= n / 2 else n // 2
    assert len(split(digests, digests, share, at_least, seed)[1]) == min(wanted, n - 1)


@pytest.mark.parametrize("n, held_out", [(2, 1), (3, 1), (197, 98), (198, 99), (300, 99), (396, 99), (400, 100), (1000, 250)])
def test_at_least_99_are_held_out_where_that_is_at_most_half(n, held_out):
    assert len(split(range(n), [str(i) for i in range(n)])[1]) == held_out


@pytest.mark.parametrize("copies", [2, 3, 4])
def test_copies_do_not_take_the_reference_below_99(copies):
    digests = [str(i // copies) for i in range(300)]
    assert 99 <= len(split(digests, digests)[1]) < 99 + copies


def test_a_split_changes_little_when_items_are_added_and_much_with_the_seed():
    digests = [str(i) for i in range(400)]
    sides = [{more[i] for i in split(more, more, seed=seed)[1]} for more, seed in ((digests, 0), ([*digests, "x", "y", "z", "w"], 0), (digests, 1))]
    assert len(sides[0] & sides[1]) >= 96
    assert len(sides[0] & sides[2]) < 50


def test_a_split_of_too_few_or_of_nonsense_is_refused():
    for digests in ([], ["a"], ["a"] * 50):
        with pytest.raises(TooFewItems, match=f"{len(digests)} items"):
            split(digests, digests)
    with pytest.raises(WrongShape, match="3 items and 2 digests"):
        split("abc", ["a", "b"])
    for share, at_least in ((0.0, 9), (1.0, 9), (float("nan"), 9), (0.5, 0)):
        with pytest.raises(InvalidSetting, match="0 < share < 1"):
            split("ab", ["a", "b"], share, at_least)
