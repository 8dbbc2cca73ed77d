"""What a reader keeps is theirs alone, small, and never half written."""

from datetime import UTC, datetime

import pytest

from dashboards.data import kept

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


def test_each_reader_sees_and_deletes_their_own_only(tmp_path):
    kept.keep(tmp_path, "reader one", "  CT   waits ", {"view": "waiting_times"}, NOW)
    kept.keep(tmp_path, "reader two", "CT waits", {"view": "staff"}, NOW)
    (one,) = kept.list_kept(tmp_path, "reader one")
    assert (one.name, one.content, one.kept_at) == (
        "CT waits",
        {"view": "waiting_times"},
        "2026-03-01T09:30:00+00:00",
    )
    assert kept.forget(tmp_path, "reader one", "CT waits")
    assert not kept.forget(tmp_path, "reader one", "CT waits")
    assert kept.list_kept(tmp_path, "reader one") == []
    assert [k.content for k in kept.list_kept(tmp_path, "reader two")] == [{"view": "staff"}]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not any("reader" in path.name for path in files)
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_the_same_name_replaces_and_the_list_and_the_file_have_an_end(tmp_path):
    for number in range(kept.MOST):
        kept.keep(tmp_path, "r", f"view {number}", {"n": number}, NOW)
    kept.keep(tmp_path, "r", "view 3", {"n": "new"}, NOW)
    assert len(kept.list_kept(tmp_path, "r")) == kept.MOST
    with pytest.raises(kept.NotKept, match="delete one"):
        kept.keep(tmp_path, "r", "one more", {}, NOW)
    with pytest.raises(kept.NotKept, match="more than is kept"):
        kept.keep(tmp_path, "q", "long", {"sql": "x" * kept.LARGEST_BYTES}, NOW)
    assert kept.list_kept(tmp_path, "q") == []


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, "a\u202eb", "a\x00b"])
def test_a_name_that_cannot_be_shown_is_refused(tmp_path, name):
    with pytest.raises(kept.NotKept):
        kept.keep(tmp_path, "r", name, {}, NOW)


def test_no_subject_and_no_other_folder(tmp_path):
    with pytest.raises(ValueError, match="subject"):
        kept.list_kept(tmp_path, "")
    kept.keep(tmp_path, "../audit", "a", {}, NOW)
    assert [path.parent for path in tmp_path.rglob("*.json")] == [tmp_path]


def test_a_broken_file_is_said_and_never_written_over(tmp_path):
    kept.keep(tmp_path, "r", "a", {}, NOW)
    (path,) = tmp_path.glob("*.json")
    path.write_text('{"not": "a list"}')
    for act in (
        lambda: kept.list_kept(tmp_path, "r"),
        lambda: kept.keep(tmp_path, "r", "b", {}, NOW),
    ):
        with pytest.raises(kept.NotKept, match="cannot be read"):
            act()
    assert path.read_text() == '{"not": "a list"}'
