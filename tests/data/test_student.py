"""Rubric, labels, student, agreement, look: by hand, and a student that beats the rules on held-out pages."""

import json
import random

import numpy as np
import pytest
import torch
from conftest import openmimo
from rich.console import Console

from openmimo.data.asking import Asking
from openmimo.data.document import Document
from openmimo.data.tags.agreement import accuracy, calibration, confusion, confusion_lines, interval, kappa
from openmimo.data.tags.labels import ask_labels, hold_out_report, read_labels
from openmimo.data.tags.look import Condition, choose, page_of
from openmimo.data.tags.rubric import Rubric, shown
from openmimo.data.tags.student import Student, features, train
from openmimo.errors import UserError

torch.set_num_threads(1)
RUBRIC = Rubric.load()
WORDS = {
    "math": "proof lemma integral matrix vector theorem prime sum",
    "code": "def return import class list print for self",
}


def pages(count: int, seed: int = 0) -> tuple[list[str], list[dict]]:
    """Texts whose words tell the domain four times in five, and whose length tells the quality."""
    rng, texts, labels = random.Random(seed), [], []
    for _ in range(count):
        domain, long = rng.choice(list(WORDS)), rng.random() < 0.5
        own, other = WORDS[domain].split(), WORDS["math" if domain == "code" else "code"].split()
        texts.append(" ".join(rng.choice(own if rng.random() < 0.8 else other) for _ in range(120 if long else 15)))
        labels.append({"domain": domain, "quality": 4 if long else 1, "ads": False})
    return texts, labels


def test_a_reply_is_read_or_not():
    good = {
        "domain": "Math",
        "quality": 4,
        "reasoning_depth": 3.0,
        "knowledge_density": 2,
        "ads": "no",
        "news": False,
        "jobs": False,
        "extraction_ok": "yes",
    }
    read = {**good, "domain": "math", "reasoning_depth": 3, "ads": False, "extraction_ok": True}
    text = json.dumps(good)
    assert RUBRIC.read(text) == read == RUBRIC.read(f'Thinking {{"domain": 1}} ...\n```json\n{text}\n```')
    for bad in (
        "",
        "no json",
        text.replace("4", "9"),
        text.replace('"Math"', '"poetry"'),
        text.replace('"quality": 4, ', ""),
        text[:-1],
        text.replace("4", "true"),
        text.replace("4", "1e999"),
    ):
        assert RUBRIC.read(bad) is None, bad
    prompt = RUBRIC.prompt("A page with {shape} in it.")
    assert "A page with {shape} in it." in prompt and "reasoning_depth" in prompt and '"quality": "0-5"' in prompt
    assert len(shown("x" * 50_000)) < 6_100 and shown("short") == "short"


def test_a_rubric_of_ones_own(tmp_path):
    (tmp_path / "r.toml").write_text(
        'prompt = "{questions}{shape}{text}"\n[heads.tone]\nkind = "class"\nvalues = ["dry", "warm"]\nquestion = "?"\n'
    )
    rubric = Rubric.load(tmp_path / "r.toml")
    assert rubric.read('{"tone": "warm"}') == {"tone": "warm"}
    for text in (
        "",
        'prompt = "x"\n[heads.a]\nkind = "odd"\nquestion = "?"\n',
        'prompt = "x"\n[heads.a]\nkind = "class"\nvalues = ["one"]\nquestion = "?"\n',
    ):
        (tmp_path / "r.toml").write_text(text)
        with pytest.raises(UserError):
            Rubric.load(tmp_path / "r.toml")


def test_agreement_by_hand():
    assert kappa(list("aabb"), list("aabb"), "ab") == 1 and kappa(list("aabb"), list("abab"), "ab") == 0
    assert kappa(list("aaab"), list("aabb"), "ab") == pytest.approx(1 - 0.25 / (3 / 4 * 2 / 4 + 1 / 4 * 2 / 4))
    near, far = kappa([0, 1, 2, 5], [1, 1, 2, 5], range(6), True), kappa([0, 1, 2, 5], [5, 1, 2, 5], range(6), True)
    assert far < near < 1 and kappa(["a"], ["a"], "ab") == 1
    assert confusion(list("aab"), list("abb"), "ab").tolist() == [[1, 1], [0, 1]] and accuracy("aab", "abb") == 2 / 3
    error, table = calibration(np.array([0.9, 0.9, 0.6, 0.6]), np.array([1, 1, 1, 0]))
    assert error == pytest.approx((0.1 * 2 + 0.1 * 2) / 4) and [row["right"] for row in table] == [0.5, 1.0]
    low, high = interval(lambda rows: float(rows.mean() >= 0), 10)
    assert low == high == 1 and len(confusion_lines(confusion("aab", "abb", "abc"), "abc")) == 3


def test_features_of_a_page_do_not_depend_on_the_others():
    texts = ["def f(x): return x\n", "", "Ein Text über $x^2$. " * 30, "a\0b", "x" * 20_000]
    together, alone = features(texts), [features([t]) for t in texts]
    for i, one in enumerate(alone):
        part = together.take(np.array([i]))
        assert (
            (part.index == one.index).all()
            and np.allclose(part.weight, one.weight)
            and np.allclose(part.shape, one.shape)
        )
    norms = [float((p.weight**2).sum()) for p in alone]
    assert norms == pytest.approx([1, 0, 1, 1, 1])


def test_a_student_learns_each_head(tmp_path):
    texts, labels = pages(400)
    for row in labels[:200]:
        row.pop("quality")  # half of the labels miss a head
    student = train(texts, labels, RUBRIC, epochs=10)
    held, truth = pages(200, seed=1)
    report, lines = hold_out_report(student, held, truth)
    assert report["domain"]["accuracy"] > 0.95 > report["domain"]["majority"] and report["domain"]["kappa_95"][0] > 0.8
    assert report["quality"]["kappa"] > 0.9 and set(report) == {"domain", "quality", "ads"}
    assert report["domain"]["calibration_error"] < 0.15 and any("quadratic kappa" in line for line in lines)
    student.save(tmp_path / "s.npz")
    again = Student.load(tmp_path / "s.npz")
    assert again.tag(held[:5] + [""])[:5] == again.tag(held[:5])
    assert [t["domain"] for t in again.tag(held)] == [t["domain"] for t in student.tag(held)]
    shuffled = random.Random(0).sample([row["domain"] for row in truth], len(truth))  # negative control
    assert abs(kappa(shuffled, [t["domain"] for t in student.tag(held)], list(WORDS))) < 0.3
    (tmp_path / "bad.npz").write_text("no")
    for name, text in (("bad.npz", "not a student"), ("none.npz", "no such file")):
        with pytest.raises(UserError, match=text):
            Student.load(tmp_path / name)
    with pytest.raises(UserError, match="too few"):
        train(texts[:3], labels[:3], RUBRIC)


def test_labels_of_a_file(tmp_path):
    path = tmp_path / "l.jsonl"
    path.write_text('{"id": "a", "domain": "math", "quality": 3, "ads": null}\n')
    assert read_labels(path, RUBRIC) == {"a": {"domain": "math", "quality": 3}}
    for text, said in [
        ('{"domain": "math"}', "needs the document's"),
        ('{"id": "a", "tone": 1}', "no head"),
        ('{"id": "a", "quality": 7}', "quality = 7"),
    ]:
        path.write_text(text + "\n")
        with pytest.raises(UserError, match=said):
            read_labels(path, RUBRIC)


def test_labels_of_a_server(tmp_path, monkeypatch):
    """Its answers are scripted: no small model here can answer the rubric. What cannot be read is asked once more."""
    from openmimo.infer.backends import Answer

    good = json.dumps(
        {
            "domain": "code",
            "quality": 3,
            "reasoning_depth": 1,
            "knowledge_density": 2,
            "ads": False,
            "news": False,
            "jobs": False,
            "extraction_ok": True,
        }
    )
    asked = []

    class Server:
        def __init__(self, *_):
            self.server = self

        def close(self):
            pass

        def ask(self, ask):
            asked.append(ask)
            hopeless = "hopeless" in ask.messages[0]["content"]
            return Answer(
                "",
                "I like it." if hopeless or ("second" in ask.messages[0]["content"] and ask.temperature == 0) else good,
                "stop",
                5,
                9,
            )

    monkeypatch.setattr("openmimo.data.asking.OpenAIServer", Server)
    documents = [Document(name, "", "", f"{name} page", "s") for name in ("first", "second", "hopeless")]
    with Asking("url", "m", tmp_path / "asked", 2) as asking:
        rows, counts = ask_labels(documents, asking, RUBRIC, 100)
    assert [row["id"] for row in rows] == ["first", "second"] and rows[0]["domain"] == "code" and len(asked) == 5
    assert counts == {"labelled": 2, "no labels in the reply": 1} and asking.tokens_in == 45


def test_looking():
    documents = [Document(str(n), f"http://h/{n}", f"<b>{n}", "x <script> " * 9, "s", {"tags": {"domain": "math" if n % 2 else "code", "quality": n / 10, "ads": False}})
                 for n in range(100)]  # fmt: skip
    chosen, met = choose(documents, [Condition.parse("domain=math"), Condition.parse("quality=2-4.9")], 5)
    assert (
        met == 15
        and len(chosen) == 5
        and all(d.meta["tags"]["domain"] == "math" and 2 <= d.meta["tags"]["quality"] <= 4.9 for d in chosen)
    )
    assert choose(documents, [Condition.parse("ads=false")], 3)[1] == 100 and choose(documents, [], 200)[0] == documents
    drawn = {choose(documents, [], 1, seed)[0][0].id for seed in range(60)}
    assert len(drawn) > 30
    page = page_of(chosen, "A & B", chars=20)
    assert "<script>" not in page and "&lt;script&gt;" in page and "A &amp; B" in page and "more characters" in page
    for text, said in (
        ("domain", "NAME=VALUE"),
        ("tone=1", "no document has this tag"),
        ("quality=high", "is a number"),
    ):
        with pytest.raises(UserError, match=said):
            choose(documents, [Condition.parse(text)], 1)


def test_the_commands(tmp_path):
    texts, labels = pages(60)
    (tmp_path / "d.jsonl").write_text(
        "".join(
            json.dumps({"id": str(n), "url": "", "title": f"Page {n}", "text": t, "source": "s"}) + "\n"
            for n, t in enumerate(texts)
        )
    )
    (tmp_path / "l.jsonl").write_text("".join(json.dumps({"id": str(n)} | row) + "\n" for n, row in enumerate(labels)))
    from openmimo.data.tags.tagging import run_tag

    console = Console(file=(tmp_path / "log").open("w"), width=100)
    how = dict(
        teacher=None,
        model=None,
        rubric=None,
        sample=10,
        max_tokens=9,
        workers=1,
        per_minute=None,
        seed=0,
        console=console,
    )
    run_tag(tmp_path / "d.jsonl", tmp_path / "t.jsonl", tmp_path / "l.jsonl", tmp_path / "s.npz", **how)
    assert json.loads((tmp_path / "s.npz.json").read_text())["domain"]["rows"] == 12
    rows = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert len(rows) == 60 and {"domain", "quality", "code_share", "words"} <= set(rows[0]["meta"]["tags"])
    assert sum(r["meta"]["tags"]["domain"] == label["domain"] for r, label in zip(rows, labels, strict=True)) > 55
    found = openmimo(
        "data", "look", tmp_path / "t.jsonl", "--tag", "domain=math", "--count", "2", "--html", tmp_path / "look.html"
    )
    assert (
        found.returncode == 0
        and "2 of" in found.stdout
        and (tmp_path / "look.html").read_text().count("<article>") == 2
    )
    with pytest.raises(UserError, match="give --out"):
        run_tag(tmp_path / "d.jsonl", None, None, None, **how)
    with pytest.raises(UserError, match="needs --student"):
        run_tag(tmp_path / "d.jsonl", None, tmp_path / "l.jsonl", None, **how)
    with pytest.raises(UserError, match="needs --model"):
        run_tag(tmp_path / "d.jsonl", None, None, None, **how | {"teacher": "http://x"})
