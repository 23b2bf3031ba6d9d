"""The report: every section, whole and partial runs, hostile text, nothing that reaches outside the file."""

import json
import random
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from openmimo.errors import UserError
from openmimo.report.answers import choose
from openmimo.report.costs import duration, flatten
from openmimo.report.logs import Log, read_log, read_run
from openmimo.report.page import write_report
from openmimo.report.plot import compact, percent, running_mean

HOSTILE = "</script></pre><img src=x onerror=alert(1)> \" ' & \ud800 \x00"
SKILL = {"base": 0.15, "rl-zero": 0.55, "sft": 0.5, "rl": 0.75}


def write_jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_answers(folder, problems, text):
    families = ("sums", "word problems", "code")
    for model, skill in SKILL.items():
        rng, rows = random.Random(model), []
        for i in range(problems):
            family, difficulty = families[i % 3], 1 + (i // 3) % 4
            chance = min(1, max(0, skill + 0.45 - 0.18 * difficulty + rng.gauss(0, 0.15)))
            samples = []
            for _ in range(8):
                passed = rng.random() < chance
                body = f"<think>\nFirst I read {i}. Then I count in steps of {difficulty}.\n</think>\nSo it is \\boxed{{{i}}}."
                samples.append({"text": body + text, "passed": passed, "finish_reason": "stop", "tokens": 40 + i})
            rows.append(
                {"problem_id": f"p{i}", "family": family, "difficulty": difficulty, "kind": "math",
                 "question": f"What is {i} in {family}?{text}", "answer": str(i), "samples": samples}
            )  # fmt: skip
        write_jsonl(folder / f"eval-{model}" / "samples.jsonl", rows)


def write_logs(folder, steps):
    rng = random.Random(0)
    base, tokens = [], 0
    for step in range(1, steps + 1):
        done = step / steps
        length, batch = (128, min(64, 8 + step)) if done <= 0.85 else (512, 16)
        tokens += length * batch
        base.append(
            {"step": step, "total": steps, "tokens": tokens, "length": length, "batch": batch, "lr": 3e-3 * min(1, 8 * done) * (1.02 - done),
             "stage": "stage1" if done <= 0.6 else "stage2" if done <= 0.85 else "stage3", "rope_base": 10_000 if length == 128 else 640_000,
             "mtp_weight": 0.3 if done < 0.4 else 0.1, "loss": 1.2 + 4 / (1 + 12 * done) + rng.gauss(0, 0.06),
             "mtp_loss": 1.7 + 4 / (1 + 10 * done) + rng.gauss(0, 0.08), "grad_norm": 0.4 + rng.expovariate(8), "tokens_per_s": rng.gauss(9e3, 300),
             "mtp_accept": 0.8 * done}
        )  # fmt: skip
    write_jsonl(folder / "base" / "log.jsonl", base)
    sft = [{"step": s, "total": steps, "loss": 0.4 + 1 / s**0.5 + rng.gauss(0, 0.02), "mtp_loss": 0.8 + 1 / s**0.5, "lr": 1e-4,
            "tokens_per_s": rng.gauss(8e3, 200)} for s in range(1, steps + 1)]  # fmt: skip
    write_jsonl(folder / "sft" / "log.jsonl", sft)
    for stage, start in (("rl-zero", 0.2), ("rl", 0.55)):
        rows = []
        for s in range(1, steps + 1):
            rate = start + (0.95 - start) * (1 - np.exp(-3 * s / steps)) + rng.gauss(0, 0.03)
            rows.append(
                {"step": s, "total": steps, "reward": rate, "pass_rate": rate, "response_length": 60 + 90 * rate + rng.gauss(0, 5), "kept": 0.9 - 0.6 * rate,
                 "groups": 40, "pool": s // 4, "entropy": 1.2 - rate, "kl": 0.01 * s, "clip_fraction": 0.01, "logprob_gap_mean": 2e-7,
                 "logprob_gap_max": 1e-6, "truncated": 0.1 - 0.1 * s / steps, "grad_norm": 0.3, "lr": 2e-4, "rollout_s": 1.5, "reward_s": 0.2, "train_s": 0.9}
            )  # fmt: skip
        write_jsonl(folder / stage / "log.jsonl", rows)


def write_run(folder, steps=12, problems=24, text=""):
    """A whole run's folder, plausible to look at with `steps=300, problems=300`."""
    write_logs(folder, steps)
    write_answers(folder, problems, text)
    seconds = {"corpus": 41, "base": 310.2, "sft": 62, "rl-zero": 151, "rl": 149, "eval-base": 20, "eval-rl": 22}
    for stage, spent in seconds.items():
        manifest = {
            "stage": stage,
            "key": "k",
            "seconds": spent,
            "peak_memory_mb": 900 + spent,
            "seed": 7,
            "commit": "0123abcd" * 5,
        }
        (folder / stage).mkdir(exist_ok=True)
        (folder / stage / "manifest.json").write_text(
            json.dumps(manifest | {"versions": {}, "inputs": {}, "outputs": {}})
        )
    counts = {"pages": {"read": 150, "kept": 141}, "near-duplicates removed": 9, "mix": {"code": 0.4, "web": 0.6}}
    (folder / "corpus" / "counts.json").write_text(json.dumps(counts))
    (folder / "recipe.json").write_text(json.dumps({"name": "tiny" + text, "note": "A made-up run." + text}))
    return folder


class Page(HTMLParser):
    """Tags with their attributes, and whether every element was closed in order."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.words, self.broken = [], [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = " ".join(self.words)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.broken.append(tag)

    def handle_data(self, data):
        self.words.append(data)

    def ids(self):
        return [attributes["id"] for _, attributes in self.tags if "id" in attributes]

    def attributes(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


SECTIONS = {"results", "bars", "passk", "pretrain", "sft", "rl", "answers", "costs", "data"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return Page(write_report(write_run(tmp_path_factory.mktemp("runs") / "tiny", text=HOSTILE)))


def test_every_section_is_there(whole):
    assert not whole.broken and not whole.open
    assert set(whole.ids()) >= SECTIONS
    targets = {attributes["href"][1:] for attributes in whole.attributes("a")}
    assert targets - {"main"} == SECTIONS and targets <= set(whole.ids())
    assert "not complete" not in whole.text
    for title in ("Loss", "Learning rate", "MTP weight", "Batch", "Sequence length", "Reward", "Pass rate", "Response length",
                  "Groups kept", "Easy pool", "Entropy", "By difficulty"):  # fmt: skip
        assert title in whole.words, title
    assert "stage1" in whole.words and "stage3" in whole.words, "the borders of pre-training are named"
    assert "24 held-out problems" in whole.text and "near-duplicates removed" in whole.text


def test_pictures_speak_and_share_no_id(whole):
    pictures = [attributes for attributes in whole.attributes("svg") if attributes.get("role") == "img"]
    assert len(pictures) > 20 and all(len(attributes["aria-label"]) > 20 for attributes in pictures)
    assert len(whole.ids()) == len(set(whole.ids()))
    assert whole.source.count("<figcaption>") == whole.source.count("<figure>") == len(pictures)


def test_hostile_text_stays_text(whole):
    names = {tag for tag, _ in whole.tags}
    assert not names & {"img", "script", "iframe", "link", "object"}
    assert "</script></pre><img src=x onerror=alert(1)>" in whole.text
    assert not any(name.startswith("on") for _, attributes in whole.tags for name in attributes)
    assert "\x00" not in whole.source


def test_nothing_points_outside(whole):
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", whole.source)
    for _, attributes in whole.tags:
        assert "src" not in attributes and attributes.get("href", "#").startswith("#")
    inside = set(re.findall(r'(?:href="#|url\(#)([\w-]+)', whole.source))
    assert inside <= set(whole.ids()), "a clip path or marker without its definition"


def test_the_same_logs_give_the_same_page(tmp_path):
    folder = write_run(tmp_path / "tiny", steps=3, problems=6)
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first
    assert not list(folder.glob("*.part"))


def test_a_partial_run_names_what_is_missing(tmp_path):
    folder = tmp_path / "tiny"
    write_jsonl(folder / "base" / "log.jsonl", [{"step": 1, "total": 9, "tokens": 64, "stage": "stage1", "loss": 5.5}])
    with (folder / "base" / "log.jsonl").open("a") as log:
        log.write('{"step": 2, "lo')  # killed while it wrote
    page = Page(write_report(folder))
    assert not page.broken and "This run is not complete." in page.text
    for line in (
        "Pre-training: at step 1 of 9",
        "SFT: no log (sft/log.jsonl)",
        "RL: not evaluated (no eval-rl/samples.jsonl)",
    ):
        assert line in page.words, line
    assert {"results", "pretrain", "sft", "rl", "answers"} <= set(page.ids())


def test_a_stage_under_way_is_shown_from_its_work_folder(tmp_path):
    write_jsonl(tmp_path / "sft" / "log.jsonl", [{"step": 1, "total": 1, "loss": 9.0}])
    write_jsonl(tmp_path / ".work" / "sft" / "log.jsonl", [{"step": 2, "total": 5, "loss": 1.0}])
    run = read_run(tmp_path)
    assert run.logs["sft"].rows == [{"step": 2, "total": 5, "loss": 1.0}] and "SFT: at step 2 of 5" in run.missing


def test_one_stage_alone(tmp_path):
    rows = [{"step": s, "total": 3, "reward": 0.1 * s, "pass_rate": None} for s in (1, 2, 3)]
    write_jsonl(tmp_path / "mine" / "log.jsonl", rows)
    page = Page(write_report(tmp_path / "mine"))
    assert "RL of mine" in page.words and "Reward" in page.words
    assert "Pass rate" not in page.words and "not complete" not in page.text
    assert not {"results", "pretrain", "sft"} & set(page.ids())


def test_one_evaluation_alone(tmp_path):
    sample = {"text": "4", "passed": True, "finish_reason": "length", "tokens": 1}
    row = {
        "problem_id": 1,
        "family": "f",
        "difficulty": 1,
        "kind": "math",
        "question": "2 + 2?",
        "answer": "4",
        "samples": [sample] * 2,
    }
    write_jsonl(tmp_path / "my-model" / "samples.jsonl", [row])
    write_jsonl(tmp_path / "my-model" / "log.jsonl", [{"step": 1, "total": 1, "reward": 1.0}])
    page = Page(write_report(tmp_path / "my-model"))
    assert "my-model" in page.words and "cut off by the limit" in page.text and "avg@2" in page.text
    assert "rl" not in page.ids(), "the log of an evaluation is not one of RL"


def test_an_empty_or_broken_folder_is_a_clear_error(tmp_path):
    with pytest.raises(UserError, match="no log, answers or manifest"):
        write_report(tmp_path)
    write_jsonl(tmp_path / "sft" / "log.jsonl", [{"step": 1, "loss": 1.0}])
    (tmp_path / "sft" / "log.jsonl").write_text('{"step": 1}\nnot json\n{"step": 2}\n')
    with pytest.raises(UserError, match=r"sft/log.jsonl:2: not a JSON object"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()
    with pytest.raises(UserError, match="no such run folder"):
        read_run(tmp_path / "absent")


def test_a_step_logged_again_after_a_resume_counts_once(tmp_path):
    rows = [{"step": s, "loss": float(s)} for s in (1, 2, 3)] + [{"step": s, "loss": 10.0 * s} for s in (2, 3, 4)]
    write_jsonl(tmp_path / "log.jsonl", rows)
    x, y = read_log("sft", tmp_path / "log.jsonl").column("loss")
    assert x.tolist() == [1, 2, 3, 4] and y.tolist() == [1, 20, 30, 40]


def test_ends_are_the_means_of_the_first_and_last_tenth():
    log = Log("sft", [{"step": s, "loss": float(s)} for s in range(1, 21)])
    assert log.ends("loss") == (1.5, 19.5)
    assert log.ends("absent") is None


def test_running_mean_by_hand():
    assert running_mean(np.arange(5.0)).tolist() == [0, 1, 2, 3, 4], "a short curve is left as it is"
    y = np.zeros(60)
    y[30] = 3.0
    mean = running_mean(y)  # window: 60 // 20 = 3
    assert mean[29:32].tolist() == [1, 1, 1] and mean.sum() == 3
    assert running_mean(np.full(60, 2.0)).tolist() == [2.0] * 60, "the ends are means of fewer values, not of zeros"


def test_problems_are_spread_and_do_not_depend_on_order():
    rows = [{"problem_id": f"{f}{d}{i}", "family": f, "difficulty": d} for f in "abc" for d in (1, 2) for i in range(9)]
    chosen = choose(rows, 12)
    assert [(r["family"], r["difficulty"]) for r in chosen] == [(f, d) for f in "abc" for d in (1, 2) for _ in range(2)]
    assert choose(reversed(rows), 12) == chosen
    assert [(r["family"], r["difficulty"]) for r in choose(rows, 3)] == [("a", 2), ("b", 2), ("c", 2)]
    assert len(choose(rows[:5], 12)) == 5


@pytest.mark.parametrize(
    "value, text",
    [(0, "0"), (0.25, "0.25"), (2.5e-4, "2.5e-4"), (1e-5, "1e-5"), (1280, "1,280"), (10_000, "10k"), (640_000, "640k"), (1.23e6, "1.23M"), (23.784e12, "23.8T")],
)  # fmt: skip
def test_compact_numbers(value, text):
    assert compact(value) == text


def test_times_and_counts_in_words():
    assert [percent(share).replace("\u00a0", " ") for share in (0.25, 0.0125, 0.305, 1)] == [
        "25 %",
        "1.25 %",
        "30.5 %",
        "100 %",
    ]
    assert [duration(s) for s in (4.25, 61, 4000)] == ["4.2 s", "1 min 1 s", "1 h 6 min"]
    assert flatten({"a": {"b": 1500, "c": None}, "d": [1, 2]}) == [("a / b", "1,500"), ("a / c", "–"), ("d", "1, 2")]
