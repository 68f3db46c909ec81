import contextlib
import errno
import functools
import hashlib
import http.server
import io
import os
import socket
import tarfile
import threading
import time
import zipfile
from dataclasses import replace

import pytest
from PIL import Image

from deepcv.data import fetch as module
from deepcv.data import load_dataset, weizmann
from deepcv.data.fetch import FETCHABLE, Archive, Fetchable, fetch
from deepcv.errors import InputError

PICTURE = io.BytesIO()
Image.new("RGB", (9, 8), (255, 0, 0)).save(PICTURE, "PNG")
PICTURE = PICTURE.getvalue()
WEIZMANN_FILE = FETCHABLE["weizmann"].archives[0].file


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def photographs(names="ab", people=3) -> dict[str, bytes]:
    files = {f"1obj/{name}/src_color/{name}.png": PICTURE for name in names}
    return files | {f"1obj/{name}/human_seg/{name}_{n}.png": PICTURE for name in names for n in range(people)}


def without_proxy(monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server on this machine: its folder, and its address."""
    without_proxy(monkeypatch)
    served = tmp_path / "served"
    served.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=served)) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield served, f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


@pytest.fixture
def small(monkeypatch):
    """The Weizmann set, were it two photographs."""
    check = functools.partial(weizmann.check, expected=2)
    monkeypatch.setitem(
        FETCHABLE, "weizmann", replace(FETCHABLE["weizmann"], check=lambda folder: check(folder.parent.parent))
    )


def refused(match, *args, folder, **settings):
    """The call raises one sentence, and nothing is left of it."""
    with pytest.raises(InputError, match=match) as caught:
        fetch(*args, folder=folder, report=lambda sentence: None, **settings)
    assert "\n" not in str(caught.value)
    assert not folder.exists()


def test_an_archive_is_downloaded_unpacked_and_loads(server, small, tmp_path, monkeypatch):
    served, address = server
    (served / WEIZMANN_FILE).write_bytes(zipped({"ReadMe.txt": b"hello", **photographs()}))
    said = []
    folder = tmp_path / "some" / "data"
    assert fetch("weizmann", folder, mirror=address, report=said.append) == folder / "weizmann" / "1obj"
    digest = hashlib.sha256((served / WEIZMANN_FILE).read_bytes()).hexdigest()
    assert any(digest in sentence for sentence in said)
    assert os.listdir(folder) == ["weizmann"]
    monkeypatch.setenv("DEEPCV_DATA", str(folder))
    assert load_dataset("weizmann").names == ("a", "b")
    assert load_dataset("weizmann")[0].mask.all()

    (served / WEIZMANN_FILE).unlink()  # a second call needs no server
    assert fetch("weizmann", mirror=address, report=said.append) == folder / "weizmann" / "1obj"
    assert "already" in said[-1]


def test_both_parts_of_weizmann_go_into_one_folder_in_either_order(small, tmp_path, monkeypatch):
    two = FETCHABLE["weizmann2"]
    check = functools.partial(weizmann.check_two, expected=2)
    monkeypatch.setitem(FETCHABLE, "weizmann2", replace(two, check=lambda folder: check(folder.parent.parent)))
    (tmp_path / WEIZMANN_FILE).write_bytes(zipped(photographs()))
    second = {
        f"Weizmann_Seg_DB_2obj/{name.replace('1obj', '2obj')}": content for name, content in photographs().items()
    }
    (tmp_path / two.archives[0].file).write_bytes(zipped(second))
    for name in ("weizmann2", "weizmann"):
        fetch(name, tmp_path / "data", mirror=tmp_path, report=lambda sentence: None)
    assert sorted(os.listdir(tmp_path / "data" / "weizmann")) == ["1obj", "2obj"]
    assert sorted(os.listdir(tmp_path / "data" / "weizmann" / "2obj")) == ["a", "b"]


def test_a_folder_of_downloads_will_do_for_a_mirror(small, tmp_path):
    downloads, folder = tmp_path / "downloads", tmp_path / "data"
    refused(f"no file .*{WEIZMANN_FILE}; download", "weizmann", folder=folder, mirror=downloads)
    downloads.mkdir()
    (downloads / WEIZMANN_FILE).write_bytes(zipped({f"Weizmann_Seg_DB_1obj/{k}": v for k, v in photographs().items()}))
    fetch("weizmann", folder, mirror=downloads, report=lambda sentence: None)
    weizmann.check(folder, expected=2)
    assert (downloads / WEIZMANN_FILE).exists()


def test_a_damaged_archive_leaves_nothing(server, small, tmp_path):
    served, address = server
    whole = zipped(photographs())
    damaged = bytearray(whole)
    damaged[60] ^= 0xFF
    cases = [(whole[:-100], "damaged or truncated"), (bytes(damaged), "damaged"), (b"<html>moved</html>", "damaged")]
    for content, why in cases:
        (served / WEIZMANN_FILE).write_bytes(content)
        refused(why, "weizmann", folder=tmp_path / "data", mirror=address)


@pytest.mark.parametrize(
    "files, why",
    [
        (photographs("a"), "1 photographs, not 2"),
        (photographs(people=2), "2 PNG files in human_seg"),
        ({"x": b""}, "0 photo"),
    ],
)
def test_an_archive_that_lacks_something_leaves_nothing(server, small, tmp_path, files, why):
    served, address = server
    (served / WEIZMANN_FILE).write_bytes(zipped(files))
    refused(why, "weizmann", folder=tmp_path / "new" / "data", mirror=address)
    assert not (tmp_path / "new").exists()


def test_no_network_and_no_such_file_leave_nothing(server, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    refused("no connection.*check the connection.*dl.html", "weizmann", folder=tmp_path / "data", mirror=dead)
    refused("404", "weizmann", folder=tmp_path / "data", mirror=server[1])


def test_a_connection_that_breaks_off_leaves_nothing(small, tmp_path, monkeypatch):
    without_proxy(monkeypatch)
    whole = zipped(photographs())

    class Broken(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            self.wfile.write(whole[: len(whole) // 2])

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Broken) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{running.server_port}"
        refused("IncompleteRead", "weizmann", folder=tmp_path / "data", mirror=address)
        running.shutdown()


@pytest.mark.parametrize(
    "name", ["../escaped.png", "/tmp/deepcv-escaped.png", "1obj/../../escaped.png", "..\\escaped.png"]
)
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_that_wants_out_of_its_folder_is_refused(tmp_path, monkeypatch, name, pack):
    ending = ".zip" if pack is zipped else ".tgz"
    monkeypatch.setitem(FETCHABLE, "made-up", Fetchable("a page", (Archive(("x/odd" + ending,)),), lambda folder: None))
    (tmp_path / ("odd" + ending)).write_bytes(pack({"fine.png": PICTURE, name: PICTURE}))
    refused("outside its folder", "made-up", folder=tmp_path / "data", mirror=tmp_path)
    assert not list(tmp_path.rglob("*escaped*")) and not os.path.exists("/tmp/deepcv-escaped.png")


def test_a_link_in_an_archive_is_not_followed(tmp_path):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir(), inside.mkdir()
    (tmp_path / "links.tgz").write_bytes(tarred({"way/escaped.png": PICTURE}, links={"way": str(outside)}))
    module._unpack(tmp_path / "links.tgz", inside)
    assert (inside / "way" / "escaped.png").read_bytes() == PICTURE
    assert not (inside / "way").is_symlink() and not list(outside.iterdir())


def test_several_archives_make_one_data_set_and_checksums_are_kept(tmp_path, monkeypatch):
    files = {
        "flowers.tgz": tarred({"jpg/image_1.jpg": b"1", "jpg/image_2.jpg": b"2"}),
        "masks.tgz": tarred({"segmim/segmim_1.jpg": b"1"}),
        "setid.mat": b"numbers",
    }
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
    archives = tuple(Archive((f"x/{file}",), hashlib.md5(content).hexdigest()) for file, content in files.items())
    check = functools.partial(module._check_counts, counts={"jpg/*.jpg": 2, "segmim/*.jpg": 1, "*.mat": 1})
    monkeypatch.setitem(FETCHABLE, "made-up", Fetchable("a page", archives, check))
    (tmp_path / "setid.mat").write_bytes(b"other numbers")
    refused("setid.mat has the MD5 checksum .*, not .*a page", "made-up", folder=tmp_path / "data", mirror=tmp_path)
    (tmp_path / "setid.mat").write_bytes(b"numbers")
    place = fetch("made-up", tmp_path / "data", mirror=tmp_path, report=lambda sentence: None)
    found = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}
    assert found == {"jpg/image_1.jpg", "jpg/image_2.jpg", "segmim/segmim_1.jpg", "setid.mat"}


def test_what_is_there_is_neither_overwritten_nor_taken_for_complete(small, tmp_path):
    mine = tmp_path / "weizmann" / "1obj" / "a" / "notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(InputError, match=r"is incomplete.*move it away"):
        fetch("weizmann", tmp_path)
    assert mine.read_text() == "mine"


def test_an_unknown_name_and_a_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match=r"'imagenet'.*ecssd, flowers102, flowers17, weizmann, weizmann2"):
        fetch("imagenet", tmp_path)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match=r"can't write to .*DEEPCV_DATA"):
        fetch("weizmann", tmp_path / "file" / "data")


def test_the_official_archives_are_named_with_their_checksums():
    for name, wanted in FETCHABLE.items():
        for archive in wanted.archives:
            assert all(address.startswith("https://") for address in archive.addresses)
            assert archive.md5 is None or len(archive.md5) == 32
        assert name in ("weizmann", "weizmann2", "ecssd") or wanted.archives[0].md5


# -- limits ------------------------------------------------------------------------------------------------------------


class Endless(http.server.BaseHTTPRequestHandler):
    """Sends a byte every 50 ms, or as much as is taken."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while not time.sleep(0.05 if "slow" in self.path else 0):
                self.wfile.write(b"x" if "slow" in self.path else b"x" * 2**16)

    def log_message(self, *args):
        pass


@pytest.fixture
def endless(monkeypatch):
    without_proxy(monkeypatch)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endless) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_download_without_end_or_by_single_bytes_is_given_up(endless, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 2**20)
    refused("it is larger than 1 MiB", "weizmann", folder=tmp_path / "data", mirror=f"http://{endless}/")
    monkeypatch.setattr(module, "LONGEST", 0.3)
    refused("it takes longer than", "weizmann", folder=tmp_path / "data", mirror=f"http://{endless}/slow/")


@pytest.mark.parametrize("mirror", ["http://me:secret@{}/none/", "ftp://me:secret@{}/", "me:secret@{}/x"])
def test_passwords_are_not_shown(mirror, server, tmp_path):
    with pytest.raises(InputError) as caught:
        address = mirror.format(server[1].split("/")[2])
        fetch("weizmann", tmp_path / "data", mirror=address, report=lambda sentence: None)
    assert "secret" not in str(caught.value) and WEIZMANN_FILE in str(caught.value)


@pytest.fixture
def flowers(server, monkeypatch):
    """Flowers-17, were it one archive of the server; the path of that."""
    archive = Archive((server[1] + "17flowers.tgz",))
    monkeypatch.setitem(FETCHABLE, "flowers17", replace(FETCHABLE["flowers17"], archives=(archive,)))
    return server[0] / archive.file


def test_a_bomb_is_refused_before_it_is_written(server, flowers, tmp_path, monkeypatch):
    served = server[0]  # as a folder: the server copies files, too
    monkeypatch.setattr(module, "LARGEST_UNPACKED", 10**6)
    monkeypatch.setattr(module.shutil, "copyfileobj", lambda *_: pytest.fail("written"))
    flowers.write_bytes(tarred({"a": bytes(2 * 10**6)}))
    refused("would unpack to more than", "flowers17", folder=tmp_path / "data", mirror=served)
    (served / WEIZMANN_FILE).write_bytes(zipped({"a": bytes(2 * 10**6)}))
    refused("would unpack to more than", "weizmann", folder=tmp_path / "data", mirror=served)
    monkeypatch.setattr(module, "MOST_FILES", 10)
    (served / WEIZMANN_FILE).write_bytes(zipped({str(n): b"" for n in range(11)}))
    refused("or 10 files", "weizmann", folder=tmp_path / "data", mirror=served)


@pytest.mark.parametrize("change", ["a bit of the checksum", "the last bytes", "half"])
def test_a_damaged_gzip_is_refused(change, flowers, tmp_path):
    whole = bytearray(tarred({f"jpg/{n}": os.urandom(2000) for n in range(20)}))
    if change == "a bit of the checksum":
        whole[-6] ^= 1
    flowers.write_bytes(whole[: {"the last bytes": -5, "half": len(whole) // 2}.get(change, len(whole))])
    refused("damaged or truncated", "flowers17", folder=tmp_path / "data")


@pytest.mark.parametrize("name", ["", ".", "./"])
def test_a_file_without_a_name_is_refused(name, flowers, tmp_path):
    flowers.write_bytes(tarred({name: b"x"}))
    refused("has a file without a name", "flowers17", folder=tmp_path / "data")


@pytest.mark.parametrize("when", ["downloading", "unpacking"])
def test_a_full_disk_is_not_called_damaged(when, server, small, tmp_path, monkeypatch):
    served, address = server
    (served / WEIZMANN_FILE).write_bytes(zipped(photographs()))

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((module, "_save") if when == "downloading" else (module.shutil, "copyfileobj")), full)
    mirror = address if when == "downloading" else served
    refused("No space left on device.; make room there", "weizmann", folder=tmp_path / "data", mirror=mirror)
