from pathlib import Path

import numpy as np
import pytest

from se_deploy.errors import ImageError
from se_deploy.verify.accuracy import Accumulator, Task
from se_deploy.verify.verification import Embeddings, Pair, read_pairs, verified

RNG = np.random.default_rng(6)


def faces(people: int, each: int) -> tuple[np.ndarray, list[str]]:
    """Embeddings that lie near their person's."""
    centres = RNG.normal(size=(people, 16))
    names = [f"{person}/{number}.png" for person in range(people) for number in range(each)]
    return np.repeat(centres, each, axis=0) + RNG.normal(0, 0.4, (people * each, 16)), names


def pairs_of(names: list[str]) -> list[Pair]:
    made = [Pair(a, b, a[0] == b[0]) for i, a in enumerate(names) for b in names[i + 1 :]]
    return [pair for place, pair in enumerate(made) if pair.same or place % 4 == 0]


def test_pairs_are_verified_by_engine_and_reference_alike() -> None:
    expected, names = faces(8, 4)
    pairs = pairs_of(names)
    broken = expected + RNG.normal(0, 3, expected.shape)
    for got, equal in ((expected * 5, True), (broken, False)):
        accumulator = Accumulator("e", Task(embeddings=True), Embeddings(pairs))
        for part in (slice(0, 10), slice(10, 32)):
            accumulator.add({"y": got[part]}, {"y": expected[part]}, names[part])
        report = accumulator.report()
        assert (report.agreement, report.top1, report.undecided) == (None, None, None)
        found = report.verification
        assert found is not None
        assert (found.pairs, found.same) == (len(pairs), sum(pair.same for pair in pairs))
        assert found.accuracy_reference.value > 95
        assert (found.accuracy == found.accuracy_reference) is equal
        if equal:
            assert found.max_cosine_change == pytest.approx(0, abs=1e-6)  # the length of an embedding does not matter
            assert report.cosine == pytest.approx(1)
        else:
            assert found.accuracy.value < found.accuracy_reference.value - 10
            assert found.paired.p < 0.01


def test_a_threshold_is_chosen_on_the_other_folds() -> None:
    same = np.array([True, False] * 10)
    clear = np.where(same, 0.9, 0.1) + RNG.normal(0, 0.01, 20)
    assert verified(clear, same).all()
    outlier = clear.copy()
    outlier[3] = 0.99
    assert verified(outlier, same).tolist() == [place != 3 for place in range(20)]


def test_what_is_not_finite_is_like_nothing_and_what_was_not_read_is_left_out() -> None:
    expected, names = faces(4, 4)
    pairs = pairs_of(names)
    got = expected.copy()
    got[0] = np.nan
    found = Embeddings(pairs)
    found.add(got[:-1], expected[:-1], names[:-1])
    report = found.report()
    assert report is not None
    assert report.pairs == sum(names[-1] not in (pair.first, pair.second) for pair in pairs)
    assert report.accuracy.value < report.accuracy_reference.value


def test_pairs_are_read_from_a_csv(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.png").touch()
    file = tmp_path / "pairs.csv"
    file.write_text("file,file,same\na.png,b.png,1\n\na.png, c.png ,0\nb.png,c.png,0\nc.png,c.png,1\n")
    assert read_pairs(file, tmp_path)[1] == Pair("a.png", "c.png", False)
    for text, message in (
        ("a.png,b.png,2", "line 1: not `file,file,same` with same 1 or 0"),
        ("a.png,d.png,1", "line 1: no file .*d.png"),
        ("a.png,b.png,1\n" * 5, "has 5 pairs; list at least 4, both same"),
        ("a.png,b.png,1\na.png,c.png,0", "has 2 pairs"),
    ):
        file.write_text(text)
        with pytest.raises(ImageError, match=message):
            read_pairs(file, tmp_path)
    with pytest.raises(ImageError, match="cannot read"):
        read_pairs(tmp_path / "none.csv", tmp_path)
