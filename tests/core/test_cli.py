"""What every command says when it ends early."""

from __future__ import annotations

import pytest

from mha_course import cli

KEEPS = "finished steps are kept, and the same command goes on from there"


def ends_with(error: BaseException, command: str, arguments: str) -> int:
    """Run a command that ends with an error."""

    def carry_out(_: object) -> int:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, command, carry_out)
        return cli.main(arguments.split())


@pytest.mark.parametrize(
    ("command", "arguments", "keeps"),
    [
        ("_heads", "heads minilm", True),
        ("_heads", "heads minilm --table-only", False),
        ("_experiments", "experiment --all", True),
        ("_experiments", "experiment --all --quick", False),
        ("_experiments", "experiment --all --quick --folder here", True),
        ("_progress", "progress", True),
        ("_grade", "grade heads", True),
        ("_update_course", "update-course mine", True),
        ("_init_course", "init-course mine", False),
        ("_trial_class", "trial-class mine", False),
        ("_students", "students class.csv", False),
        ("_check", "check heads.ipynb", False),
    ],
)
def test_only_what_is_kept_is_said_to_be(
    command: str, arguments: str, keeps: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends_with(KeyboardInterrupt(), command, arguments) == 130
    said = capsys.readouterr().err
    assert "mha-course: interrupted" in said
    assert (KEEPS in said) == keeps


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (FileNotFoundError("Get the whole course"), "mha-course: Get the whole course\n"),
        (FileNotFoundError(2, "No such file", "a.txt"), "mha-course: no file a.txt\n"),
    ],
)
def test_a_missing_file_is_named(
    error: FileNotFoundError, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends_with(error, "_check", "check heads.ipynb") == 2
    assert capsys.readouterr().err == says
