"""benchmarks/peers.py: the table of the comparison with other packages is what the files of measurements say."""

import json

import peers


def measured(script, macro_f1, by_epoch=None):
    scores = {"macro_f1": macro_f1, "accuracy": 0.98, "f1": {"N": 0.99, "S": 0.8}}
    return {
        "script": script, "seed": 0, "epochs": 2, "test": scores, "validation": scores, "fit_s": [60.0, 100.0],
        "predict_s": [1.0, 2.0], "memory_mib": 900, "lines": 6, "validation_by_epoch": by_epoch, "n": {"test": 21890},
        "overrides": ["split=random"],
    }  # fmt: skip


def test_a_better_peer_is_first_and_one_that_failed_is_there_with_the_reason(tmp_path):
    found = [
        measured("ecg_lightning_cnet", 0.90, [0.8, 0.91]),
        measured("aeon_minirocket", 0.92),
        {"script": "deepecgkit_kanres", "seed": 0, "failed": "ERROR: no matching distribution"},
    ]
    for number, one in enumerate(found):
        (tmp_path / f"{number}.json").write_text(json.dumps(one))
    rows = peers.table(tmp_path).splitlines()
    assert ["aeon" in rows[2], "ecg_lightning" in rows[3], "ERROR: no matching" in rows[4]] == [True] * 3
    cells = [cell.strip() for cell in rows[2].split("|")]
    assert cells[3:13] == ["–", "92.00", "99.00", "80.00", "98.00", "100", "60", "10,945", "900", "6"]
    assert "does not pass" in rows[-1]

    (tmp_path / "0.json").write_text(json.dumps(measured("ecg_lightning_cnet", 0.95, [0.8, 0.93])))
    assert "in epoch 2 of 2, after about 100 CPU seconds" in peers.table(tmp_path)


def test_the_text_around_the_table_stays_when_it_is_written_anew(tmp_path):
    (tmp_path / "README.md").write_text(f"before\n{peers.MARK}old\n{peers.MARK}after\n")
    (tmp_path / "one.json").write_text(json.dumps(measured("aeon_minirocket", 0.9)))
    peers.write_table(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "90.00" in text and "old" not in text


def test_lines_are_those_with_code():
    assert peers.lines("ecg_lightning_cnet") == 6
