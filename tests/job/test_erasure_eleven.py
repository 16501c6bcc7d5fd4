"""Ten erasure requests in one command, then an eleventh, on a tiny model that knows its facts."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from knowing_model import save_knowing, write_kept, write_request
from main_job import call
from srmu.results.erasure.log import entries_of, read_log

NUM_REQUESTS = 11
# Of a tiny model not all is lost; most of it has to be.
AT_MOST = 0.75
SETTINGS: dict[str, Any] = {
    "layer": 1, "steps": 300, "learning_rate": 1e-2, "retain_weight": 1.0, "steering_coefficient": 2.0,
    "forget_batch_size": 8, "retain_batch_size": 16, "max_length": 16, "importance_map": "none",
    "forget_tokens": "all", "audit": False, "eval": False,
}  # fmt: skip


def new(capsys: pytest.CaptureFixture[str], folder: Path, number: int) -> None:
    texts, questions = write_request(folder.parent, number)
    arguments = ["--subject", f"person {number}", "--texts", str(texts), "--questions", str(questions)]
    words = ["--id", f"r{number + 1:02}", "--ground", "GDPR Art. 17(1)(b)", "--approved-by", "J. Roe"]
    words += ["--at-most", str(AT_MOST)]
    assert call(capsys, "request", "new", str(folder), *arguments, *words)[0] == 0


def outcomes(folder: Path) -> list[dict[str, str]]:
    runs = entries_of(read_log(folder / "log.jsonl"), "checked")
    return [{check.request: check.outcome for check in checked.checks} for checked in runs]


@pytest.mark.slow
def test_ten_requests_in_one_command_then_an_eleventh_are_all_checked_signed_and_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "erasures"
    model, (kept, questions) = save_knowing(tmp_path / "model"), write_kept(tmp_path, NUM_REQUESTS)
    for number in range(NUM_REQUESTS - 1):
        new(capsys, folder, number)
    settings = {"model": str(model), "retain": [str(kept)], "questions": {"kept": str(questions)}, **SETTINGS}
    (folder / "settings.yaml").write_text(yaml.safe_dump({**settings, "require": ["kept>=0.9*base"]}))
    code, _, err = call(capsys, "request", "run", str(folder))
    assert code == 0, err
    new(capsys, folder, NUM_REQUESTS - 1)
    code, _, err = call(capsys, "request", "run", str(folder))
    assert code == 0, err
    first, second = outcomes(folder)
    assert first == {f"r{number:02}": "forgotten" for number in range(1, NUM_REQUESTS)}
    assert second == {f"r{number:02}": "forgotten" for number in range(1, NUM_REQUESTS + 1)}
    checked = entries_of(read_log(folder / "log.jsonl"), "checked")[1]
    assert not checked.kept[0].lost
    assert call(capsys, "request", "close", str(folder), *second, "--by", "J. Roe, data protection officer")[0] == 0
    assert call(capsys, "request", "status", str(folder))[0] == 0
    content = bytearray((folder / "log.jsonl").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "log.jsonl").write_bytes(content)
    code, _, err = call(capsys, "request", "status", str(folder))
    line = content[: len(content) // 2].count(b"\n") + 1
    assert code == 1
    assert f"log.jsonl, line {line}:" in err
