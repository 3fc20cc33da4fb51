import contextlib
import csv
import dataclasses
import json
import os

import pytest

from msmm.core.errors import UserError
from msmm.photos.annotation_lines import CSV, CSV_COLUMNS, JSON, Annotated, csv_line, json_line, text_line
from msmm.photos.outputs import DryRun, File

MODEL = "scenes 0123456789ab"
HOSTILE = '=cmd()\n\x1b[31m\u202egpj,".jpg'
BYTES = os.fsdecode(b"caf\xe9.jpg")  # a file name that is not UTF-8


def make_annotation(path="a/b.jpg", labels=("sea", "sky"), **more):
    return Annotated(
        path, labels, {"sea": 0.91234, "sky": 0.5, "dog": 0.25}, 1.75, ["beach"], ["Rex"], **more
    )


def read_json(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "digits", [{"sea": 1e-7, "car": 2e-7}, {"car": 2e-7, "sea": 1e-7}, {"sea": 3e-7, "car": 0.0}]
)
def test_probabilities_that_are_equal_as_written_are_in_the_order_of_their_names(digits):
    """Their further digits depend on the batch."""
    photo = dataclasses.replace(make_annotation(), probabilities={"sky": 0.9, **digits})
    assert list(json.loads(json_line(photo, MODEL))["probabilities"].items()) == [
        ("sky", 0.9),
        ("car", 0.0),
        ("sea", 0.0),
    ]


def test_text_json_and_csv_lines_of_an_annotation():
    assert text_line(make_annotation()) == "a/b.jpg: sea (0.91), sky (0.50)"
    assert text_line(make_annotation(labels=())) == "a/b.jpg: (none)"
    assert json.loads(json_line(make_annotation(), MODEL)) == {
        "path": "a/b.jpg", "labels": ["sea", "sky"], "quantity": 1.75,
        "probabilities": {"sea": 0.9123, "sky": 0.5, "dog": 0.25}, "tags": ["beach"], "unknown": ["Rex"],
        "model": MODEL,
    }  # fmt: skip
    assert csv_line(make_annotation(), MODEL) == "a/b.jpg,sea;sky,0.9123;0.5000,1.750,beach,Rex," + MODEL


@pytest.mark.parametrize("path", [HOSTILE, BYTES, "ü b.jpg", "日本.jpg"])
def test_hostile_file_names_are_escaped_in_every_format(path):
    text, row, line = (
        text_line(make_annotation(path)),
        csv_line(make_annotation(path), MODEL),
        json_line(make_annotation(path), MODEL),
    )
    for printed in (text, row):
        assert printed.isprintable() and printed.encode()
    assert json.loads(line)["path"] == path and "\n" not in line and line.encode()
    cells = next(csv.reader([row]))
    assert len(cells) == len(CSV_COLUMNS) and not cells[0].startswith("=")


@pytest.mark.parametrize(("format", "read"), [(JSON, read_json), (CSV, read_csv)])
class TestFile:
    def paths(self, read, path):
        return [row["path"] for row in read(path)]

    def test_file_appears_when_complete_and_a_second_run_adds_to_it(self, format, read, tmp_path):
        path = tmp_path / "new" / "out"
        with File(path, format, MODEL, overwrite=False) as output:
            output.write(make_annotation("a.jpg"))
            assert not path.exists()
        assert self.paths(read, path) == ["a.jpg"] and os.listdir(path.parent) == ["out"]
        with File(path, format, MODEL, overwrite=False) as output:
            assert output.find_annotator("a.jpg") and not output.find_annotator("b.jpg")
            output.write(make_annotation("b.jpg"))
            assert self.paths(read, path) == ["a.jpg"]
        assert self.paths(read, path) == ["a.jpg", "b.jpg"]

    @pytest.mark.parametrize("name", [HOSTILE, BYTES, "-x.jpg"])
    def test_any_file_name_is_recognised_in_a_second_run(self, format, read, tmp_path, name):
        with File(tmp_path / "out", format, MODEL, overwrite=False) as output:
            output.write(make_annotation(name))
        assert File(tmp_path / "out", format, MODEL, overwrite=False).find_annotator(name)

    def test_a_run_without_new_photographs_leaves_the_file_untouched(self, format, read, tmp_path):
        stamps = []
        for _ in range(2):
            with File(tmp_path / "out", format, MODEL, overwrite=False) as output:
                if not output.find_annotator("a.jpg"):
                    output.write(make_annotation("a.jpg"))
            stamps.append(os.stat(tmp_path / "out").st_mtime_ns)
        assert stamps[0] == stamps[1] and os.listdir(tmp_path) == ["out"]

    @pytest.mark.parametrize("cut", [1, 10, 43])
    def test_a_run_killed_within_a_line_resumes(self, format, read, tmp_path, cut):
        with (
            pytest.raises(KeyboardInterrupt),
            File(tmp_path / "out", format, MODEL, overwrite=False) as output,
        ):
            for name in ("a.jpg", "b.jpg"):
                output.write(make_annotation(name))
            raise KeyboardInterrupt
        partial = tmp_path / "out.partial"
        assert os.listdir(tmp_path) == ["out.partial"]
        partial.write_bytes(partial.read_bytes()[:-cut])
        with File(tmp_path / "out", format, MODEL, overwrite=False) as output:
            assert output.find_annotator("a.jpg") and not output.find_annotator("b.jpg")
            output.write(make_annotation("b.jpg"))
        assert self.paths(read, tmp_path / "out") == ["a.jpg", "b.jpg"]

    def test_a_damaged_line_is_refused_and_later_lines_are_kept(self, format, read, tmp_path):
        path = tmp_path / "out"
        with File(path, format, MODEL, overwrite=False) as output:
            for name in ("a.jpg", "b.jpg", "c.jpg"):
                output.write(make_annotation(name))
        damaged = path.read_bytes().replace(b"b.jpg", b'b,"pg')
        path.write_bytes(damaged)
        number = 2 + bool(format.header)
        with pytest.raises(UserError, match=rf"out:{number} is damaged: mend or delete the line"):
            File(path, format, MODEL, overwrite=False)
        assert path.read_bytes() == damaged

    def test_a_run_killed_before_the_first_line_resumes(self, format, read, tmp_path):
        for beginning in (b"", b"pa", b"{"):
            if (format is CSV and beginning == b"{") or (format is JSON and beginning == b"pa"):
                continue
            (tmp_path / "out.partial").write_bytes(beginning)
            with File(tmp_path / "out", format, MODEL, overwrite=False) as output:
                output.write(make_annotation("a.jpg"))
            assert self.paths(read, tmp_path / "out") == ["a.jpg"]
            os.remove(tmp_path / "out")

    def test_overwrite_keeps_the_old_file_until_the_new_one_is_complete(self, format, read, tmp_path):
        with File(tmp_path / "out", format, MODEL, overwrite=False) as output:
            output.write(make_annotation("a.jpg"))
        with File(tmp_path / "out", format, MODEL, overwrite=True) as output:
            assert not output.find_annotator("a.jpg")
            output.write(make_annotation("b.jpg"))
            assert self.paths(read, tmp_path / "out") == ["a.jpg"]
        assert self.paths(read, tmp_path / "out") == ["b.jpg"]

    def run(self, path, format, name, overwrite=False):
        with File(path, format, MODEL, overwrite) as output:
            output.write(make_annotation(name))

    @pytest.mark.parametrize("before", [[], ["0.jpg"]])
    @pytest.mark.parametrize("at_work", [False, True])
    def test_lines_that_another_run_writes_meanwhile_are_not_lost(
        self, format, read, tmp_path, before, at_work
    ):
        """at_work: the other run has not ended when this one begins."""
        path = tmp_path / "out"
        for name in before:
            self.run(path, format, name)
        late = File(path, format, MODEL, overwrite=False)
        with contextlib.ExitStack() as ending:
            other = ending.enter_context(File(path, format, MODEL, overwrite=False))
            other.write(make_annotation("a.jpg"))
            if not at_work:
                ending.close()
            with pytest.raises(UserError, match="another process writes"), late:
                pass
        assert self.paths(read, path) == [*before, "a.jpg"]
        self.run(path, format, "b.jpg")
        assert self.paths(read, path) == [*before, "a.jpg", "b.jpg"]

    @pytest.mark.parametrize("ends", [False, True])
    def test_an_unfinished_file_that_another_run_continues_meanwhile_is_not_cut(
        self, format, read, tmp_path, ends
    ):
        def interrupt():
            raise KeyboardInterrupt

        path, names = tmp_path / "out", ["a.jpg", "b.jpg", "c.jpg"]
        with pytest.raises(KeyboardInterrupt), File(path, format, MODEL, overwrite=False) as output:
            output.write(make_annotation("a.jpg"))
            interrupt()
        late = File(path, format, MODEL, overwrite=False)
        with (
            contextlib.suppress(KeyboardInterrupt),
            File(path, format, MODEL, overwrite=False) as output,
        ):
            output.write(make_annotation("b.jpg"))
            if not ends:
                interrupt()
        with pytest.raises(UserError, match="another process writes"), late:
            pass
        self.run(path, format, "c.jpg")
        assert self.paths(read, path) == names and os.listdir(tmp_path) == ["out"]

    def test_a_file_whose_first_line_has_lost_its_end_is_continued(self, format, read, tmp_path):
        path = tmp_path / "out"
        self.run(path, format, "a.jpg")
        path.write_bytes(path.read_bytes().splitlines()[0])
        self.run(path, format, "a.jpg")
        assert self.paths(read, path) == ["a.jpg"] and os.listdir(tmp_path) == ["out"]

    def test_overwrite_replaces_what_another_run_wrote_meanwhile(self, format, read, tmp_path):
        late = File(tmp_path / "out", format, MODEL, overwrite=True)
        self.run(tmp_path / "out", format, "a.jpg")
        with late as output:
            output.write(make_annotation("b.jpg"))
        assert self.paths(read, tmp_path / "out") == ["b.jpg"]

    def test_a_foreign_file_is_not_overwritten(self, format, read, tmp_path):
        contents = [b"my notes\n", b"\xff\xd8\xff\xe0", b'{"path": 1}\n', b"[" * 100_000]
        contents += [b"path\nmy/list.jpg\n", b"\nfoo;bar\n", b"p\n1\n", b"path,labels\n", b"path"]
        for content in contents:
            (tmp_path / "out").write_bytes(content)
            for overwrite in (False, True):
                with pytest.raises(UserError, match="name another --output"):
                    File(tmp_path / "out", format, MODEL, overwrite)
            assert (tmp_path / "out").read_bytes() == content
            (tmp_path / "out").unlink()
            if content.endswith(b"\n"):
                (tmp_path / "out.partial").write_bytes(content)
                with pytest.raises(UserError, match="name another --output"):
                    File(tmp_path / "out", format, MODEL, overwrite=True)
                (tmp_path / "out.partial").unlink()
        with pytest.raises(UserError):
            File(tmp_path, format, MODEL, overwrite=False)

    def test_a_path_that_can_be_no_file_is_refused(self, format, read, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "a.jpg").write_bytes(b"mine")
        for path in (".", "..", "/", ""):
            with pytest.raises(UserError, match="name another --output"):
                File(path, format, MODEL, overwrite=True)
        for path in ("a.jpg/out", "a.jpg/folder/out"):
            with pytest.raises(UserError, match=r"expected a folder, a\.jpg is a file: name another"):
                self.run(path, format, "b.jpg")
        assert os.listdir(tmp_path) == ["a.jpg"] and (tmp_path / "a.jpg").read_bytes() == b"mine"

    def test_the_model_of_each_photograph_is_recorded(self, format, read, tmp_path):
        for name, model in (("a.jpg", "model 1"), ("b.jpg", "model 2 top_k=3"), ("a.jpg", "model 2")):
            with File(tmp_path / "out", format, model, overwrite=False) as output:
                if output.find_annotator(name) is None:
                    output.write(make_annotation(name))
        assert [row["model"] for row in read(tmp_path / "out")] == ["model 1", "model 2 top_k=3"]
        assert [output.find_annotator(n) for n in ("a.jpg", "b.jpg", "c.jpg")] == [
            "model 1",
            "model 2 top_k=3",
            None,
        ]

    @pytest.mark.parametrize("name", ["out", "out.partial"])
    def test_a_file_of_an_earlier_version_is_refused(self, format, read, tmp_path, name):
        rows = {
            JSON: b'{"path": "a.jpg", "labels": [], "quantity": 1.0}\n',
            CSV: b"path,labels,probabilities,quantity,tags,unknown\na.jpg,,,1.000,,\n",
        }
        (tmp_path / name).write_bytes(rows[format])
        with pytest.raises(UserError, match="earlier version, which did not record which model annotated"):
            File(tmp_path / "out", format, MODEL, overwrite=False)
        assert (tmp_path / name).read_bytes() == rows[format]
        with File(tmp_path / "out", format, MODEL, overwrite=True) as output:
            output.write(make_annotation("b.jpg"))
        assert self.paths(read, tmp_path / "out") == ["b.jpg"]

    def test_a_dry_run_writes_nothing_and_recognises_finished_photographs(self, format, read, tmp_path):
        with File(tmp_path / "out", format, MODEL, overwrite=False) as output:
            output.write(make_annotation("a.jpg"))
        before = (tmp_path / "out").read_bytes()
        with DryRun(File(tmp_path / "out", format, MODEL, overwrite=False)) as output:
            assert output.find_annotator("a.jpg") and output.write(make_annotation("b.jpg")).startswith(
                "b.jpg: sea"
            )
        assert (tmp_path / "out").read_bytes() == before and os.listdir(tmp_path) == ["out"]
