"""Runs in .bench/export: loads an export by its trainer's own code, and scores right and wrong answers by its reward.

    .bench/export/bin/python bench/peers/export_peer.py FOLDER TRAINER      # the folder is of bench/export.py

Prints one JSON object: what was loaded, what its reward gave, or why the real library could not be used.
"""

import json
import sys
import traceback
from pathlib import Path

FOLDER = Path(sys.argv[1])
BENCH = Path(__file__).parents[2] / ".bench"
ANSWERS = json.loads((FOLDER / "answers.json").read_text())  # id -> {"right": text, "wrong": text}


def verl():
    from datasets import load_dataset
    from verl.utils.reward_score import default_compute_score

    rows = load_dataset(
        "parquet", data_files=str(FOLDER / "verl.parquet"), split="train", cache_dir=str(FOLDER / "cache")
    )
    scores = {"right": [], "wrong": []}
    for row in rows:
        for kind, found in scores.items():
            said = ANSWERS[row["extra_info"]["id"]][kind]
            score = default_compute_score(
                row["data_source"], said, row["reward_model"]["ground_truth"], row["extra_info"]
            )
            found.append(float(score if not isinstance(score, (tuple, list)) else score[0]))
    try:
        from omegaconf import OmegaConf
        from transformers import AutoTokenizer
        from verl.utils.dataset.rl_dataset import RLHFDataset

        tokenizer = AutoTokenizer.from_pretrained(FOLDER / "tokenizer")
        config = OmegaConf.create(
            {
                "prompt_key": "prompt",
                "max_prompt_length": 4096,
                "cache_dir": str(FOLDER / "cache"),
                "filter_overlong_prompts": True,
            }
        )
        data = RLHFDataset([str(FOLDER / "verl.parquet")], tokenizer, config)
        loader = f"RLHFDataset: {len(data)} rows, first raw_prompt {data[0]['raw_prompt'][0]['role']}"
    except Exception as error:
        loader = f"by datasets; RLHFDataset did not load here ({type(error).__name__}: {str(error)[:120]})"
    return {"rows": len(rows), "loader": loader, **scores}


def trl():
    from datasets import load_dataset
    from transformers import AutoTokenizer
    from trl.data_utils import is_conversational, maybe_apply_chat_template
    from trl.rewards import accuracy_reward

    rows = load_dataset("json", data_files=str(FOLDER / "trl.jsonl"), split="train", cache_dir=str(FOLDER / "cache"))
    assert all(is_conversational({"prompt": row["prompt"]}) for row in rows)
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "tokenizer")
    assert all(
        isinstance(maybe_apply_chat_template({"prompt": row["prompt"]}, tokenizer)["prompt"], str) for row in rows
    )
    scores = {}
    maths = [row for row in rows if row["kind"] == "math"]
    for kind in ("right", "wrong"):
        said = [[{"role": "assistant", "content": ANSWERS[row["id"]][kind]}] for row in maths]
        scores[kind] = accuracy_reward(said, [row["solution"] for row in maths])
    return {"rows": len(rows), "loader": "trl.data_utils", **scores}


def verifiers():
    import asyncio

    import verifiers as vf
    from datasets import load_dataset

    rows = load_dataset(
        "json", data_files=str(FOLDER / "verifiers.jsonl"), split="train", cache_dir=str(FOLDER / "cache")
    )
    parser = vf.Parser(vf.extract_boxed_answer)

    def boxed(parser, completion, answer, **_):
        return 1.0 if parser.parse_answer(completion) == answer else 0.0

    env = vf.SingleTurnEnv(dataset=rows, parser=parser, rubric=vf.Rubric(funcs=[boxed], parser=parser))
    data = env.get_dataset()
    infos = [json.loads(row["info"]) if isinstance(row["info"], str) else row["info"] for row in data]
    scores = {"right": [], "wrong": []}
    for row, info in zip(data, infos, strict=True):
        if row["task"] == "math" or not info["tests"]:
            for kind, found in scores.items():
                said = [{"role": "assistant", "content": ANSWERS[info["id"]][kind].split("</think>")[-1]}]
                value = boxed(parser, said, row["answer"])
                found.append(asyncio.run(value) if asyncio.iscoroutine(value) else value)
    return {"rows": len(data), "loader": "SingleTurnEnv", **scores}


def slime():
    sys.path.insert(0, str(BENCH / "export-slime"))
    from slime.rollout.rm_hub import math_utils
    from slime.utils.data import Dataset
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "tokenizer")
    data = Dataset(
        str(FOLDER / "slime.jsonl"),
        tokenizer,
        None,
        None,
        prompt_key="prompt",
        label_key="label",
        metadata_key="metadata",
        apply_chat_template=True,
    )
    scores = {"right": [], "wrong": []}
    for sample in data.samples:
        if sample.metadata.get("rm_type") == "math":
            for kind, found in scores.items():
                answer = math_utils.extract_answer(ANSWERS[sample.metadata["id"]][kind])
                found.append(
                    float(math_utils.grade_answer_verl(ANSWERS[sample.metadata["id"]][kind], sample.label))
                    if answer
                    else 0.0
                )
    return {"rows": len(data), "loader": "slime.utils.data.Dataset", **scores}


def open_instruct():
    sys.path[:0] = [
        str(BENCH / "export-antlr"),
        str(BENCH / "export-open-instruct"),
    ]  # sympy's antlr is not omegaconf's
    from datasets import load_dataset

    rows = load_dataset(
        "json", data_files=str(FOLDER / "open-instruct.jsonl"), split="train", cache_dir=str(FOLDER / "cache")
    )
    assert set(rows.column_names) >= {"messages", "ground_truth", "dataset"}
    scores, loader = {"right": [], "wrong": []}, []
    try:
        from open_instruct.ground_truth_utils import MathVerifier

        verifier = MathVerifier()
        for row in rows:
            if row["dataset"] == "math":
                for kind, found in scores.items():
                    found.append(
                        verifier([], ANSWERS[row["id"]][kind].split("</think>")[-1], row["ground_truth"]).score
                    )
        loader.append("MathVerifier")
    except Exception as error:
        loader.append(
            f"ground_truth_utils did not import here ({type(error).__name__}: {str(error)[:120]}): its documented schema alone"
        )
    try:
        from open_instruct.code_utils.code_utils import decode_tests, get_successful_tests_fast

        for row in rows:
            if row["dataset"] == "code":
                for kind, found in scores.items():
                    program = ANSWERS[row["id"]][kind].split("```python\n")[1].split("```")[0]
                    results, _ = get_successful_tests_fast(
                        program=program, tests=decode_tests(row["ground_truth"]), max_execution_time=2.0
                    )
                    found.append(float(all(results)))
        loader.append("code_utils")
    except Exception as error:
        loader.append(f"code_utils did not import here ({type(error).__name__}: {str(error)[:120]})")
    return {"rows": len(rows), "loader": "; ".join(loader), **scores}


if __name__ == "__main__":
    try:
        found = {"verl": verl, "trl": trl, "verifiers": verifiers, "slime": slime, "open-instruct": open_instruct}[
            sys.argv[2]
        ]()
    except Exception as error:
        found = {"error": f"{type(error).__name__}: {str(error)[:300]}", "trace": traceback.format_exc()[-1200:]}
    print(json.dumps(found))
