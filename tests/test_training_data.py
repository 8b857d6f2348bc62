"""What is trained on and watched: published data sets, config files, classes, moments of a run."""

from __future__ import annotations

import gzip
import io
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.full_disk import files_up_to
from training import collect, config, datasets, options, watch
from training.task import TrainingError

pytest_plugins = ["tests.helpers.drawn_photos"]


# Data sets


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def fashion(folder: Path, n: int = 12) -> dict[str, np.ndarray]:
    """The four files, two of them gzipped, with random pictures."""
    folder.mkdir()
    random = np.random.default_rng(0)
    arrays = {}
    for start in ("train", "t10k"):
        arrays[f"{start}-images-idx3-ubyte"] = random.integers(0, 256, (n, 28, 28), np.uint8)
        arrays[f"{start}-labels-idx1-ubyte"] = np.arange(n, dtype=np.uint8) % 10
    for name, array in arrays.items():
        packed = name.startswith("t10k")
        data = idx(array)
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(data) if packed else data)
    return arrays


def test_fashion_mnist_becomes_folders_of_classes(tmp_path, capsys):
    arrays = fashion(tmp_path / "files")
    datasets.main(["fashion-mnist", str(tmp_path / "files"), "--out", str(tmp_path / "data")])
    assert "12 pictures in 10 classes" in capsys.readouterr().out
    for part, start in (("train", "train"), ("test", "t10k")):
        files = sorted((tmp_path / "data" / part).rglob("*.png"))
        assert len(files) == 12
        for path in files:
            number = int(path.stem)
            assert path.parent.name == datasets.FASHION_CLASSES[number % 10]
            pixels = np.asarray(Image.open(path))
            assert np.array_equal(pixels[2:-2, 2:-2], arrays[f"{start}-images-idx3-ubyte"][number])
            assert pixels.shape == (32, 32) and not pixels[0].any()
    watched = watch.watched_pictures(tmp_path / "data" / "train", 32, 200)
    assert set(watched.classes) == set(datasets.FASHION_CLASSES)


def cifar_record(label: int, seed: int) -> tuple[bytes, np.ndarray]:
    picture = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
    planes = [bytes([label])] + [picture[..., colour].tobytes() for colour in range(3)]
    return b"".join(planes), picture


@pytest.mark.parametrize("packed", [False, True])
def test_cifar10_becomes_folders_of_classes(tmp_path, packed):
    names = [*datasets.CIFAR_FILES["train"], *datasets.CIFAR_FILES["test"]]
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    pictures = []
    for number, name in enumerate(names):
        records = [cifar_record((number + k) % 10, 10 * number + k) for k in range(2)]
        (folder / name).write_bytes(b"".join(record for record, _ in records))
        pictures += [picture for _, picture in records]
    place = tmp_path
    if packed:
        place = tmp_path / "cifar-10-binary.tar.gz"
        with tarfile.open(place, "w:gz") as archive:
            archive.add(folder, "cifar-10-batches-bin")
    datasets.main(["cifar10", str(place), "--out", str(tmp_path / "data")])
    files = sorted((tmp_path / "data" / "train").rglob("*.png"), key=lambda path: path.name)
    assert len(files) == 10
    for path, picture in zip(files, pictures, strict=False):
        assert np.array_equal(np.asarray(Image.open(path)), picture)
        number = int(path.stem)
        assert path.parent.name == datasets.CIFAR_CLASSES[(number // 2 + number % 2) % 10]


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "is no IDX file."),
        (b"\x89PNG....", "is no IDX file."),
        (bytes([0, 0, 13, 3]) + bytes(12), "holds no unsigned bytes in 1 to 4 dimensions."),
        (bytes([0, 0, 8, 3]) + bytes(4), "ends too early: copy it again."),
        (bytes([0, 0, 8, 1]) + struct.pack(">I", 9) + b"abc", "ends too early: copy it again."),
        (bytes([0, 0, 8, 1]) + struct.pack(">I", 2) + b"abc", "goes on after its last value: copy it again."),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12, "more than any data set this reads."),
    ],
)
def test_idx_files_that_are_none(tmp_path, content, words):
    for name, data in (("file", content), ("file.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(TrainingError) as caught:
            datasets.read_idx(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name)) and str(caught.value).endswith(words)
    (tmp_path / "cut.gz").write_bytes(gzip.compress(idx(np.zeros(5000, np.uint8)))[:20])
    with pytest.raises(TrainingError, match="cut.gz cannot be read"):
        datasets.read_idx(tmp_path / "cut.gz")


def test_data_sets_that_are_not_whole(tmp_path, capsys):
    def said(dataset: str, place: Path) -> str:
        with pytest.raises(SystemExit):
            datasets.main([dataset, str(place), "--out", str(tmp_path / "data")])
        return capsys.readouterr().err

    assert f"There is no folder {tmp_path / 'none'}." in said("fashion-mnist", tmp_path / "none")
    files = tmp_path / "files"
    fashion(files)
    (files / "train-labels-idx1-ubyte").write_bytes(idx(np.full(12, 10, np.uint8)))
    assert "states the class 10, and there are 10." in said("fashion-mnist", files)
    (files / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(11, np.uint8)))
    assert "holds 12 pictures and 11 classes." in said("fashion-mnist", files)
    (files / "train-labels-idx1-ubyte").unlink()
    assert "holds no train-labels-idx1-ubyte: give the folder with the published files." in said("fashion-mnist", files)
    (files / "data_batch_1.bin").write_bytes(b"\x80\x04pickled")
    assert "give the binary version of CIFAR-10, not that for Python or Matlab." in said("cifar10", files)
    (tmp_path / "archive.tar.gz").write_bytes(b"no archive")
    assert "archive.tar.gz cannot be read" in said("cifar10", tmp_path / "archive.tar.gz")
    with tarfile.open(tmp_path / "other.tar", "w") as archive:
        member = tarfile.TarInfo("data_batch_1")
        archive.addfile(member, io.BytesIO())
    assert "holds no data_batch_1.bin" in said("cifar10", tmp_path / "other.tar")
    assert not (tmp_path / "data").exists()


# Config files


def parsed(tmp_path: Path, text: str, *arguments: str):
    path = tmp_path / "train.yaml"
    path.write_text(text)
    return options.parse_args(["--config", str(path), *arguments])


def test_a_config_stands_for_the_command_line_and_the_command_line_counts_more(tmp_path):
    text = "photos: some/photos\nmodel: vae\nout: run\nkl-weight: 1e-4\nlatent_channels: 8\n"
    text += "grey: true\ngif: false\nlpips:\n"
    args = parsed(tmp_path, text, "--width", "16", "--kl-weight", "0.5")
    assert (args.photos, args.out, args.model) == (Path("some/photos"), Path("run"), "vae")
    assert (args.kl_weight, args.latent_channels, args.width, args.grey, args.gif) == (0.5, 8, 16, True, False)
    assert args.lpips is None
    assert parsed(tmp_path, text).kl_weight == 1e-4
    assert options.parse_args(["other", "--config", str(tmp_path / "train.yaml")]).photos == Path("other")

    config.keep(tmp_path / "kept.yaml", args)
    again = options.parse_args(["--config", str(tmp_path / "kept.yaml")])
    assert {k: v for k, v in vars(again).items() if k != "config"} == {
        k: v for k, v in vars(args).items() if k != "config"
    }


@pytest.mark.parametrize(
    "text, words",
    [
        ("kl-wieght: 1", "has an unknown key, 'kl-wieght': did you mean kl-weight?"),
        ("zebra: 1", "has an unknown key, 'zebra': --help lists what there is."),
        ("grey: 3", "grey must be true or false, not 3."),
        ("crop: true", "crop must be a value, not true."),
        ("crop: [1, 2]", "crop must be one value, not a list."),
        ("crop: large", "invalid int value: 'large'"),
        ("model: gan", "invalid choice: 'gan'"),
        ("- crop", "makes no sense as a config: write one `option: value` a line."),
        ("a: [", "is no YAML: write one `option: value` a line."),
        ("!!python/object/apply:os.system [id]", "is no YAML: write one `option: value` a line."),
    ],
)
def test_configs_that_say_nothing_that_can_be_done(tmp_path, capsys, text, words):
    with pytest.raises(SystemExit):
        parsed(tmp_path, text, "photos", "--out", "run")
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("minutes", "0", "must be more than 0, not 0"),
        ("minutes", "nan", "must be more than 0, not nan"),
        ("schedule-steps", "0", "must be 1 or more, not 0"),
        ("schedule-steps", "-5", "must be 1 or more, not -5"),
        ("steps", "-1", "must be 0 or more, not -1"),
        ("lr", "-1", "must be more than 0, not -1"),
        ("lr", "inf", "must be more than 0, not inf"),
        ("lpips-from", "7", "must be from 0 to 1, not 7"),
        ("lpips-weight", "-0.5", "must be 0 or more, not -0.5"),
        ("watch", "-3", "must be 0 or more, not -3"),
        ("zoom-out", "0.5", "must be from 1 to 100, not 0.5"),
        ("seed", "-1", "must be from 0 to 4294967295, not -1"),
        ("device", "toaster", "there is no device toaster here: take cpu, or leave it out"),
    ],
)
def test_numbers_out_of_range_are_refused_wherever_they_stand(tmp_path, capsys, name, value, words):
    for arguments, text in (([f"--{name}", value], ""), ([], f"{name}: {value}")):
        with pytest.raises(SystemExit):
            parsed(tmp_path, text, "photos", "--out", "run", *arguments)
        assert capsys.readouterr().err.splitlines()[-1].endswith(f"argument --{name}: {words}")


def test_a_config_that_is_not_there(tmp_path, capsys):
    with pytest.raises(SystemExit):
        options.parse_args(["photos", "--out", "run", "--config", str(tmp_path / "none.yaml")])
    assert "none.yaml cannot be read: No such file or directory." in capsys.readouterr().err
    with pytest.raises(SystemExit):
        options.parse_args(["--out", "run"])
    assert "a folder of photos and --out are needed" in capsys.readouterr().err


# What is watched


def test_classes_are_folders_and_the_middle_of_each_picture_is_watched(tmp_path):
    for name, colour in (("b/one.png", "red"), ("a/deep/two.png", "blue")):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        Image.new("RGB", (90, 40), colour).save(path)
    (tmp_path / "a" / "damaged.png").write_bytes(b"no picture")
    watched = watch.watched_pictures(tmp_path, 32, 100)
    assert watched.classes == ["a", "b"] and watched.pictures.shape == (2, 3, 32, 32)
    torch.testing.assert_close(watched.pictures.mean((2, 3)), torch.tensor([[0.0, 0, 1], [1, 0, 0]]))
    assert watch.about_classes(watched.classes, tmp_path) == ""
    assert watch.about_classes(["", ""], tmp_path).endswith("has no folders of classes (CLASS/picture.png).")
    assert watch.about_classes(["a", "a"], tmp_path).endswith("the pictures watched are all of the class a.")
    (tmp_path / "b" / "one.png").unlink(), (tmp_path / "a" / "deep" / "two.png").unlink()
    with pytest.raises(TrainingError, match="^None of the pictures in .* can be read.$"):
        watch.watched_pictures(tmp_path, 32, 100)


def test_the_plane_keeps_the_last_moments_widest_directions():
    random = np.random.default_rng(0)
    hidden = random.normal(0, 1, (50, 2)) * [5, 2]
    axes = np.linalg.qr(random.normal(0, 1, (7, 7)))[0][:2]
    last = hidden @ axes + 0.01 * random.normal(0, 1, (50, 7)) + 3
    points, x, y = watch.plane(np.stack([last * 0, last]))
    assert points.shape == (2, 50, 2) and x.startswith("component 1 (8") and y.startswith("component 2 (1")
    distances = [np.linalg.norm(p[:, None] - p[None], axis=2) for p in (points[1], hidden)]
    np.testing.assert_allclose(distances[0], distances[1], atol=0.1)
    assert np.ptp(points[1][:, 0]) > 1.5 * np.ptp(points[1][:, 1])
    assert np.ptp(points[0], axis=0).max() < 1e-9  # the same axes for a moment where all are one point
    plain, x, _ = watch.plane(np.stack([hidden, hidden * 2]))
    assert np.array_equal(plain[1], hidden * 2) and x == "first latent"


class Stub(watch.Task):
    """Latents are the mean colours, reconstructions the pictures."""

    def latents(self, model, photos):
        return photos.mean((2, 3), keepdim=True)

    def grid(self, model, photos):
        return [photos, photos / 2]


def test_moments_are_thinned_out_and_belong_to_their_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "MAX_FRAMES", 5)
    watched = watch.Watched(torch.rand(9, 3, 8, 8, generator=torch.Generator().manual_seed(0)), list("ababababc"))
    watcher = watch.Watcher(Stub(), watched, tmp_path)
    model = torch.nn.Linear(1, 1)
    for step in range(10):  # 0 1 2 3 4 -> 0 2 4 6 8 -> 0 4 8
        watcher.look(model, step)
    watcher.look(model, 9, last=True)
    watcher.look(model, 9, last=True)  # the same moment again
    assert watcher.steps == [0, 4, 8, 9] and len(watcher.latents) == len(watcher.outputs) == 4
    watcher.save()
    again = watch.Watcher(Stub(), watched, tmp_path)
    again.load(last_step=5)
    assert again.steps == [step for step in watcher.steps if step <= 5]
    np.testing.assert_array_equal(again.latents[0], watcher.latents[0])
    other = watch.Watcher(Stub(), watch.Watched(1 - watched.pictures, watched.classes), tmp_path)
    other.load(last_step=9)
    assert other.steps == []

    written = watch.draw(tmp_path, gif=True)
    assert {path.name for path in written} == {
        f"{n}.{e}" for n in ("latent-space", "progress") for e in ("webp", "gif")
    }
    for path in written:
        with Image.open(path) as animation:
            assert animation.n_frames == len(watcher.steps)
    with Image.open(tmp_path / "progress.webp") as animation:
        pixels = np.asarray(animation.convert("RGB"), int)
    assert abs(2 * pixels[8:16, :64].mean() - pixels[:8, :64].mean()) < 8  # pictures above, halved below


def test_moments_of_fewer_pictures_or_other_latents_are_not_mixed_with_new_ones(tmp_path):
    pictures = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    model = torch.nn.Linear(1, 1)
    first = watch.Watcher(Stub(), watch.Watched(pictures[:9], [""] * 9), tmp_path)
    first.look(model, 1)
    first.save()
    more = watch.Watcher(Stub(), watch.Watched(pictures, [""] * 12), tmp_path)  # the first eight are the same
    more.load(last_step=1)
    assert more.steps == []
    more.look(model, 2)
    more.save()

    class Wider(Stub):
        def latents(self, model, photos):
            return photos.mean((2, 3), keepdim=True).repeat(1, 2, 1, 1)

    wider = watch.Watcher(Wider(), more.watched, tmp_path)
    wider.load(last_step=2)
    wider.look(model, 3)
    wider.save()
    assert wider.steps == [3] and np.stack(wider.latents).shape == (1, 12, 6)
    sorted_anew = watch.Watcher(Wider(), watch.Watched(pictures, ["a"] * 12), tmp_path)
    sorted_anew.load(last_step=3)
    assert sorted_anew.steps == []


def test_latents_are_averaged_where_they_are_large():
    assert watch.numbers_of(torch.rand(2, 4, 16, 16)).shape == (2, 64)
    assert watch.numbers_of(torch.rand(2, 240, 12, 12)).shape == (2, 960)
    assert watch.numbers_of(torch.rand(2, 2, 1, 1)).shape == (2, 2)
    coarse = watch.numbers_of(torch.arange(16.0).view(1, 1, 4, 4).repeat_interleave(2, 2).repeat_interleave(2, 3))
    torch.testing.assert_close(coarse, torch.arange(16.0)[None])


def test_a_folder_without_moments_is_refused(tmp_path, capsys):
    for content in (None, b"no arrays"):
        if content:
            (tmp_path / watch.SNAPSHOTS).write_bytes(content)
        with pytest.raises(SystemExit):
            watch.main([str(tmp_path)])
        assert "holds no watched.npz: give the folder of a run that has begun." in capsys.readouterr().err


# Photos of packages


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="makes and unpacks a Debian package")
def test_photos_of_a_package_are_collected(tmp_path: Path, monkeypatch) -> None:
    images = "usr/share/wallpapers/Kite/contents/images"
    files = {f"{images}/9x9.jpg": b"small", f"{images}/99x99.jpg": b"large one", "usr/life_by.jpg": b"an example"}
    files |= {"usr/tree.jpg": b"tree", "usr/drawing.png": b"drawing", "DEBIAN/control": CONTROL}
    for name, content in files.items():
        (tmp_path / "package" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "package" / name).write_bytes(content)
    subprocess.run(["dpkg-deb", "-b", "package", "some.deb"], cwd=tmp_path, check=True, capture_output=True)
    really = collect.run

    def run(*command: str, cwd: Path | None = None) -> None:
        if command[0] == "apt-get":
            shutil.copy(tmp_path / "some.deb", cwd)
        else:
            really(*command, cwd=cwd)

    monkeypatch.setattr(collect, "run", run)
    package = collect.Package("some", "CC0-1.0", (f"{images}/*.jpg", "usr/*.jpg"))
    assert len(list(collect.collect(tmp_path / "photos", (package,)))) == 2
    found = {path.name: path.read_bytes() for path in (tmp_path / "photos").glob("*.jpg")}
    assert found == {"wall_kite.jpg": b"large one", "wall_tree.jpg": b"tree"}
    assert "wall_tree.jpg,some,CC0-1.0" in (tmp_path / "photos" / collect.SOURCES).read_text()
    assert list(collect.collect(tmp_path / "photos", (package,))) == []


CONTROL = b"Package: some\nVersion: 1\nArchitecture: all\nMaintainer: nobody <a@example.org>\nDescription: photos\n"


def test_a_photo_that_finds_no_room_is_not_left_in_part(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "tree.jpg").write_bytes(b"a tree" * 1000)
    package = collect.Package("some", "CC0-1.0", ("*.jpg",))
    monkeypatch.setattr(collect, "unpacked", lambda package, folder: tmp_path / "root")
    monkeypatch.setattr(collect, "PACKAGES", (package,))
    monkeypatch.setattr(collect.collect, "__defaults__", ((package,),))
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr("sys.argv", ["collect", str(tmp_path / "photos")])
    with files_up_to(1000), pytest.raises(SystemExit) as ended:
        collect.main()
    assert ended.value.code == 1 and "wall_tree.jpg could not be written (" in capsys.readouterr().err
    assert list((tmp_path / "photos").iterdir()) == []
    collect.main()
    assert (tmp_path / "photos" / "wall_tree.jpg").stat().st_size == 6000


def test_a_package_that_cannot_be_had_is_named(tmp_path: Path, monkeypatch) -> None:
    def run(*command: str, cwd: Path | None = None) -> None:
        raise subprocess.CalledProcessError(100, command, stderr="E: Unable to locate package some\n")

    monkeypatch.setattr(collect, "run", run)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    with pytest.raises(TrainingError, match="some could not be had .E: Unable to locate package some."):
        list(collect.collect(tmp_path / "photos", (collect.Package("some", "", ()),)))
