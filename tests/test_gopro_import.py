"""Films of hands come in: what is refused and why, where they are cut, what is kept of them, and what is not."""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import matplotlib
import matplotlib.image
import numpy as np
import pytest
from numpy.typing import NDArray

from collectors.human_video.checks import wrong
from collectors.human_video.clip import CannotUse, look
from collectors.human_video.cuts import BadCuts, Cut, Marks, propose, read, write
from collectors.human_video.faces import NoModel, YuNet
from collectors.human_video.pictures import chosen, pictures
from collectors.human_video.takes import Take, takes
from drivers.emulators.gopro import Filmed, chapters, film
from storage import Episode, check
from tests.typed import Type

SMALL = Path(__file__).parent / "data" / "hero5.mp4"

Picture = NDArray[np.uint8]


def taken(folder: Path, filmed: Filmed) -> Take:
    return takes([look(film(folder / "film.mp4", filmed))])[0]


LITTLE = Filmed(seconds=3, size=(128, 72))


def test_nothing_speaks_against_a_good_film(tmp_path: Path) -> None:
    assert wrong(taken(tmp_path, replace(LITTLE, tilt=0.3))) == []


@pytest.mark.parametrize(
    ("filmed", "why", "fix"),
    [
        (replace(LITTLE, stabilised="HS Boost"), "stabilised (HS Boost)", "turn HyperSmooth off"),
        (replace(LITTLE, fov="N"), "field of view is narrow (N), and wanted is wide (W)", "--fov"),
        (replace(LITTLE, brightness=0.05), "it is black", "lens cap"),
        (replace(LITTLE, seconds=1.0), "it lasts 1.0 s, and 2 s is the least", "film the whole task"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason_and_a_fix(
    tmp_path: Path, filmed: Filmed, why: str, fix: str
) -> None:
    (finding,) = wrong(taken(tmp_path, filmed))
    assert finding.refuses
    assert why in finding.why
    assert fix in finding.fix


@pytest.mark.parametrize(
    ("filmed", "why"),
    [
        (replace(LITTLE, brightness=0.3), "too dark"),
        (replace(LITTLE, seconds=6, tilt=1.3), "the horizon tilts"),
        (replace(LITTLE, noted=False), "does not say its field of view, nor for sure whether it is stabilised"),
    ],
)
def test_what_is_worth_less_comes_in_with_a_warning(tmp_path: Path, filmed: Filmed, why: str) -> None:
    (finding,) = wrong(taken(tmp_path, filmed))
    assert not finding.refuses
    assert why in finding.why


def test_looking_takes_less_than_twice_the_length_of_the_film() -> None:
    began = time.process_time()
    take = takes([look(SMALL)])[0]
    wrong(take)
    assert time.process_time() - began < 2 * take.seconds


def test_marks_come_in_pairs(tmp_path: Path) -> None:
    take = taken(tmp_path, replace(LITTLE, seconds=10, hilights=(1.0, 3.0, 4.0, 6.5, 8.0), taps=(2.0, 7.0)))
    assert [(cut.start, cut.end) for cut in propose(take)] == [(1, 3), (4, 6.5), (8, pytest.approx(take.seconds))]
    assert [cut.note for cut in propose(take)] == ["", "", "the last mark has no end"]
    (tapped,) = propose(take, Marks.TAPS, "lift it")
    assert 2.36 < tapped.start < 3
    assert 6.5 < tapped.end < 7
    assert tapped.text == "lift it"
    assert propose(take, Marks.WHOLE) == [Cut("film", 0, take.seconds)]


def test_marks_after_the_end_of_a_film_cut_nothing(tmp_path: Path) -> None:
    take = taken(tmp_path, replace(LITTLE, hilights=(1.0, 9.0, 11.0, 12.0)))
    assert propose(take) == [Cut("film", 1.0, take.seconds)]


def test_a_cut_list_is_read_back_as_it_was_edited(tmp_path: Path) -> None:
    take, path = taken(tmp_path, replace(LITTLE, seconds=6, hilights=(1.0, 3.0, 4.0, 5.5))), tmp_path / "cuts.csv"
    write(path, propose(take))
    with pytest.raises(FileExistsError):
        write(path, propose(take))
    assert read(path, [take]) == propose(take)
    path.write_text(path.read_text().replace("4.000", "0:03.5").replace("5.500,,", '5.500,"lift, then turn",Left'))
    assert read(path, [take])[1] == Cut("film", 3.5, 5.5, "lift, then turn", "left")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("other,1,2,", "line 2: there is no take 'other'; there are film"),
        ("film,1,99,", "line 2: 1 to 99 s is not within take film, 0 to 3.003 s"),
        ("film,2,1,", "is not within"),
        ("film,one,2,", "'one' is no time; write seconds, 75.5, or minutes and seconds, 1:15.5"),
        ("film,1,1.2,", "lasts at least 0.5 s"),
        ("film,0,2,\nfilm,1,3,", "overlap"),
        ("film,0,2,lift,hook", "line 2: 'hook' are no hands; write left, right or both, or nothing"),
    ],
)
def test_a_cut_list_that_cannot_be_followed_says_where(tmp_path: Path, line: str, said: str) -> None:
    take, path = taken(tmp_path, LITTLE), tmp_path / "cuts.csv"
    path.write_text(f"take,start,end,text,hands\n{line}\n")
    with pytest.raises(BadCuts) as refused:
        read(path, [take])
    assert said in str(refused.value)
    path.write_text("nothing like that\n")
    with pytest.raises(BadCuts, match="does not begin with the line take,start,end,text,hands"):
        read(path, [take])


@pytest.mark.parametrize(("rate", "count"), [(30000 / 1001, 300), (60000 / 1001, 300), (24, 240), (120, 300)])
def test_a_film_of_any_rate_becomes_one_of_30_hz_at_most_and_no_picture_comes_twice(rate: float, count: int) -> None:
    moments = np.arange(round(rate * 10.01)) / rate
    kept = chosen(moments, 0.0, 10.0, 30.0)
    assert len(kept) == pytest.approx(count, abs=1)
    assert len(np.unique(kept)) == len(kept)
    assert np.diff(moments[kept]).max() < 1.6 / min(rate, 30)


def brought(appliance: Type, home: Path, *words: str) -> Episode:
    """The one episode that a film becomes."""
    said = appliance("import", "gopro", "--task", "pick_place", "--yes", "--json", *words)
    assert said.code == 0, said.err
    (name,) = said.json["new"]
    return Episode(home / "episodes" / f"{name}.zarr")


def test_a_real_film_comes_in_picture_by_picture(appliance: Type, home: Path) -> None:
    episode = brought(appliance, home, str(SMALL), "--text", "fly away", "--operator", "ada", "--keep-faces")
    moments = look(SMALL).moments
    np.testing.assert_array_equal(episode["head", "t"], np.rint(moments * 1e9).astype(int))
    assert episode["head", "rgb"].shape == (60, 240, 428, 3)
    assert 397 * 2 - 20 < len(episode["imu", "t"]) < 397 * 2 + 5
    assert np.linalg.norm(episode["imu", "accel"], axis=1).mean() == pytest.approx(9.81, rel=0.1)
    assert np.median(episode["exposure", "exposure"]) == pytest.approx(0.005, rel=0.2)
    said = episode.attributes
    assert (said["agent"], said["source"], said["operator"]) == ("human", "human", "ada")
    assert (said["instruction"], said["subtask"], said["task"]) == ("fly away", "fly away", "pick_place")
    assert said["human_video"]["camera"]["model"] == "HERO5"
    assert said["human_video"]["files"] == [{"name": "hero5.mp4", "digest": look(SMALL).digest}]
    assert check(episode.path) == []


def test_nothing_that_tells_where_it_was_or_what_was_said_is_kept(appliance: Type, home: Path) -> None:
    episode = brought(appliance, home, str(SMALL), "--keep-faces")
    places = {"gpmd_GPRI", "gpmd_GLPI", "gpmd_BPOS", "gpmd_LNED"}
    assert not places & set(episode.streams)
    assert "gpmd_SIMU" in episode.streams
    assert set(episode.attributes["human_video"]["left_out"]) == {"sound", *(name[5:] for name in places)}


def test_a_film_in_chapters_is_one_episode_across_midnight(appliance: Type, home: Path, tmp_path: Path) -> None:
    midnight = datetime(2026, 5, 5)  # ruff: ignore[call-datetime-without-tzinfo] - a camera's clock knows no zone
    parts = chapters(tmp_path, 7, replace(LITTLE, seconds=4, began=midnight - timedelta(seconds=1)), 2)
    episode = brought(appliance, home, *map(str, reversed(parts)))
    assert len(episode["head", "t"]) == 120
    np.testing.assert_allclose(np.diff(episode["head", "t"]) / 1e9, 1001 / 30000, atol=1e-6)
    assert set(episode["head", "clip"]) == {0, 1}
    assert np.diff(episode["imu", "t"]).min() >= 0
    began = datetime.fromisoformat(episode.attributes["started"]).replace(tzinfo=None)
    assert abs((began - midnight).total_seconds() + 1) < 0.05
    assert episode.attributes["serials"] == {"head": "C3470000000001"}


def test_ten_bits_and_turned_pictures_come_in_upright(appliance: Type, home: Path, tmp_path: Path) -> None:
    """A red corner, at the top left of what the sensor saw, is at the bottom left once it is turned."""

    def picture(_t: float) -> Picture:
        seen = np.full((180, 320, 3), 90, np.uint8)
        seen[:60, :60] = (220, 20, 20)
        return seen

    path = film(tmp_path / "GX010001.MP4", Filmed(seconds=2, codec="libx265", quarter_turns=1, picture=picture))
    assert look(path).codec == "hevc"
    images = brought(appliance, home, str(path), "--height", "160")["head", "rgb"]
    assert images.shape == (60, 160, 90, 3)
    assert images[30, -10, 10].tolist() == pytest.approx([220, 20, 20], abs=15)
    assert images[30, 10, 10].tolist() == pytest.approx([90, 90, 90], abs=6)


def with_a_face(since: float, until: float) -> Callable[[float], Picture]:
    """Somebody (Grace Hopper, from matplotlib's samples) is in the picture for a while."""
    face = matplotlib.image.imread(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")
    small = cv2.resize(face, (240, 280), interpolation=cv2.INTER_AREA)

    def picture(t: float) -> Picture:
        seen = np.full((360, 640, 3), 110, np.uint8)
        if since <= t < until:
            seen[40:320, 200:440] = small
        return seen

    return picture


def detail(images: Picture) -> Any:
    """How much there is to be recognised, where the face is."""
    part = images[:, 75:185, 255:385]
    return np.array([cv2.Laplacian(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), cv2.CV_64F).std() for one in part])


def test_faces_are_covered_unless_somebody_says_otherwise(appliance: Type, home: Path, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", Filmed(seconds=2, size=(640, 360), picture=with_a_face(0.45, 1.55)))
    visible = brought(appliance, home, str(path), "--height", "360", "--keep-faces")
    there = detail(visible["head", "rgb"]) > 5
    assert there.sum() == pytest.approx(33, abs=1)
    said = appliance(
        "import", "gopro", "--task", "pick_place", "--yes", "--height", "360", str(path), "--hands", "right"
    )
    assert f"episode {visible.path.stem} is the same film with its faces, from before; purge it" in said.err
    (name,) = {path.stem for path in home.rglob("*.zarr")} - {visible.path.stem}
    episode = Episode(home / "episodes" / f"{name}.zarr")
    assert (episode.attributes["arms"], "arms" in visible.attributes) == ([False, True], False)
    assert episode.attributes["subtask"] == episode.attributes["instruction"] != ""
    eyes = episode["head", "rgb"][:, 95:125, 285:345]
    blocks = [len(np.unique(one.reshape(-1, 3) // 32, axis=0)) for one in eyes[there]]
    seen = [
        len(np.unique(one.reshape(-1, 3) // 32, axis=0)) for one in visible["head", "rgb"][there][:, 95:125, 285:345]
    ]
    assert max(blocks) < min(seen) / 2
    assert episode.attributes["faces"]["covered_in"] >= there.sum()
    assert "faces" in episode.attributes["human_video"]["left_out"]
    assert "faces" not in visible.attributes["human_video"]["left_out"]


def test_a_face_model_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(NoModel, match=r"model\.onnx is no YuNet model"):
        YuNet(tmp_path / "model.onnx")


def test_the_good_films_come_in_and_each_bad_one_is_a_line(appliance: Type, home: Path, tmp_path: Path) -> None:
    good = film(tmp_path / "GH010001.MP4", replace(LITTLE, hilights=(0.5, 1.5, 2.0, 2.9)))
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "cut.mp4").write_bytes(good.read_bytes()[:9000])
    (tmp_path / "twice.mp4").write_bytes(good.read_bytes())
    bad = [str(tmp_path / name) for name in ("empty.mp4", "cut.mp4", "twice.mp4", "gone.mp4")]
    said = appliance("import", "gopro", str(good), *bad, "--task", "pick_place", "--yes")
    assert said.code == 1
    assert "2 episodes of pick_place are new, 0 were here already." in said.out
    lines = [line for line in said.err.splitlines() if line.startswith("left out: ")]
    assert [line.startswith(f"left out: {path}") for line, path in zip(lines, bad, strict=True)] == [True] * 4
    assert {path.name for path in home.iterdir() if path.is_dir()} == {"episodes"}
    listed = appliance("episodes", "list", "--json").json
    assert [one["agent"] for one in listed] == ["human", "human"]

    again = appliance("import", "gopro", str(good), "--task", "pick_place", "--yes")
    assert (again.code, again.out.splitlines()[-1][:60]) == (
        0,
        "0 episodes of pick_place are new, 2 were here already. Faces",
    )


def test_a_film_that_is_damaged_between_the_pictures_looked_at_leaves_nothing_behind(
    appliance: Type, home: Path, tmp_path: Path
) -> None:
    path = film(tmp_path / "a.mp4", Filmed(seconds=3, size=(320, 180)))
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    for packet in packets[42:47]:
        assert packet.pos is not None
        content[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    path.write_bytes(content)
    said = appliance("import", "gopro", str(path), "--task", "pick_place", "--yes")
    assert said.code == 1
    assert "its pictures cannot be unpacked" in said.err
    assert [one.name for one in home.rglob("*.zarr")] == []
    assert list(home.glob(".import-*")) == []


def test_a_picture_that_the_film_lacks_is_not_replaced_by_its_neighbour(tmp_path: Path) -> None:
    take = taken(tmp_path, LITTLE)
    moved = replace(take, clips=(replace(take.clips[0], moments=take.moments + 0.01),))
    with pytest.raises(CannotUse, match=r"the picture at 0\.010 s cannot be unpacked"):
        list(pictures(moved, np.arange(3), 36, None))


def test_without_pyav_it_says_what_to_install(appliance: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    said = appliance("import", "gopro", str(SMALL), "--task", "pick_place", "--yes")
    assert (said.code, said.out) == (1, "")
    assert "pip install 'appliance[exchange]'" in said.err


def test_a_take_of_which_nothing_is_cut_out_is_told(appliance: Type, tmp_path: Path) -> None:
    path = film(tmp_path / "GH010009.MP4", LITTLE)
    said = appliance("import", "gopro", str(path), "--task", "pick_place", "--yes", "--marks", "hilights")
    assert "take 0009: nothing of it is cut out; --marks whole takes all of it" in said.err


def test_cuts_are_looked_at_before_anything_comes_in(appliance: Type, home: Path, tmp_path: Path) -> None:
    path, cuts = film(tmp_path / "GH010009.MP4", replace(LITTLE, hilights=(0.5, 2.5))), tmp_path / "cuts.csv"
    refused = appliance("import", "gopro", str(path), "--task", "pick_place")
    assert refused.code == 1
    assert "add --yes to take them, or --cuts FILE to edit them" in refused.err
    written = appliance("import", "gopro", str(path), "--task", "pick_place", "--cuts", str(cuts))
    assert (written.code, written.out.splitlines()[-1]) == (
        0,
        f"Wrote {cuts}. Edit it, then type the same command again.",
    )
    assert not list(home.rglob("*.zarr"))
    cuts.write_text("take,start,end,text,hands\n0009,0.6,1.4,reach,\n0009,1.4,2.4,lift,both\n")
    followed = appliance("import", "gopro", str(path), "--task", "pick_place", "--cuts", str(cuts), "--json")
    episodes = [Episode(home / "episodes" / f"{name}.zarr") for name in followed.json["new"]]
    assert [one.attributes["subtask"] for one in episodes] == ["reach", "lift"]
    assert {one.attributes["instruction"] for one in episodes} == {episodes[0].attributes["instruction"]} - {"reach"}
    assert [one.attributes.get("arms") for one in episodes] == [None, [True, True]]
    assert [len(one["head", "t"]) for one in episodes] == [24, 30]
    assert Fraction(int(episodes[1]["head", "t"][0]), 10**9) >= Fraction(14, 10)
