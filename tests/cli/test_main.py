"""The command line as a whole: quick help, errors in one sentence."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ecg_lightning.cli.main import app, main
from ecg_lightning.data import download as fetch_module

HELP = {
    "data fetch": "--records",
    "inspect": "--json",
    "evaluate": "--fold",
    "table": "--only-run",
    "compare": "--json",
    "report": "--baseline",
    "show": "--beats",
    "train": "--config-dir",
}


def test_help_of_every_command_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from ecg_lightning.cli.main import app\n"
        f"for command in {list(HELP)}:\n"
        "    try:\n        app([*command.split(), '--help'], prog_name='ecg-lightning')\n"
        "    except SystemExit as leaving:\n        assert not leaving.code\n"
        "    print('NEXT')\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    *texts, loaded = run.stdout.split("NEXT\n")
    assert all(option in text for option, text in zip(HELP.values(), texts, strict=True))
    heavy = {"torch", "pandas", "wfdb", "numpy", "matplotlib", "pyarrow", "requests", "hydra"}
    assert not heavy & set(loaded.split())


def test_the_version_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.2.3" if name == "ecg-lightning" else None)
    run = CliRunner().invoke(app, ["--version"])
    assert (run.exit_code, run.stdout) == (0, "ecg-lightning 1.2.3\n")


def test_an_error_is_one_sentence_on_stderr_and_exit_code_2(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["data", "fetch", "kaggle_mitbih", "--records", "100", "--data-dir", str(tmp_path)])
    assert run.exit_code == 2
    assert run.stderr.startswith("error: ") and "kaggle_mitbih" in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_ctrl_c_prints_a_line_and_has_exit_code_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch_module, "fetch", interrupted)
    run = CliRunner().invoke(app, ["data", "fetch", "mitbih", "--data-dir", str(tmp_path)])
    assert run.exit_code == 130
    assert "interrupted" in run.stderr and len(run.stderr.splitlines()) == 1


@pytest.mark.parametrize("debug", [False, True])
def test_an_error_nobody_thought_of_is_one_line_and_a_file_with_the_traceback(
    debug: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("\x1b[31mred\nand more")

    monkeypatch.setattr(fetch_module, "fetch", broken)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["ecg-lightning", "data", "fetch", "mitbih", *["--debug"] * debug])
    with pytest.raises(SystemExit) as leaving:
        main()
    assert leaving.value.code == 1
    *shown, line = capsys.readouterr().err.splitlines()
    (file,) = tmp_path.iterdir()
    assert line.startswith("error: unexpected RuntimeError: ?[31mred and more; ") and str(file) in line
    assert "in broken" in file.read_text()
    assert any("in broken" in text for text in shown) == debug


def test_wrong_words_on_the_command_line_are_one_line() -> None:
    for words in (["table"], ["--unknown"], ["unknown"], ["evaluate", "run", "--fold", "train"]):
        run = CliRunner().invoke(app, words)
        assert run.exit_code == 2
        assert run.stderr.startswith("error: ") and len(run.stderr.splitlines()) == 1


def test_sigterm_prints_a_line_and_has_exit_code_143(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_module, "fetch", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    run = CliRunner().invoke(app, ["data", "fetch", "mitbih", "--data-dir", str(tmp_path)])
    assert run.exit_code == 143
    assert run.stderr.startswith("terminated; ") and len(run.stderr.splitlines()) == 1
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_reader_of_the_output_that_has_gone_ends_it_quietly() -> None:
    command = [sys.executable, "-m", "ecg_lightning", "weights", "list", "--json"]
    reader, writer = os.pipe()
    os.close(reader)
    run = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (run.returncode, run.stderr) == (141, "")


def test_the_data_folder_comes_from_the_environment_unless_given(tmp_path: Path) -> None:
    from_environment = CliRunner().invoke(app, ["data", "check"], env={"ECG_DATA_DIR": str(tmp_path / "a")})
    assert f"{tmp_path / 'a'} holds no database" in from_environment.stdout
    named = CliRunner().invoke(
        app, ["data", "check", "--data-dir", str(tmp_path / "b")], env={"ECG_DATA_DIR": str(tmp_path / "a")}
    )
    assert f"{tmp_path / 'b'} holds no database" in named.stdout


def test_an_unknown_dataset_lists_the_known_ones() -> None:
    run = CliRunner().invoke(app, ["data", "fetch", "incart"], env={"COLUMNS": "200"})
    assert run.exit_code == 2
    assert all(name in run.stderr for name in ("mitbih", "ptbdb", "svdb", "kaggle_mitbih"))
