"""One side of bench/grpo_peer.py: TRL's GRPOTrainer, in the environment of bench/peers/trl.sh.

    .bench/trl/bin/python bench/grpo_child.py MODEL PROBLEMS.jsonl STEPS BATCH GROUP

The last line is JSON: seconds of each step, and the share of groups whose rewards were all equal.
"""

import json
import re
import sys
import tempfile
import time

import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

BOXED = re.compile(r"\\boxed\{([^{}]*)\}")


def right(completions, answer, **_) -> list[float]:
    """1 where the last boxed answer is the problem's, character by character; as our judge's first look."""
    texts = [c[0]["content"] if isinstance(c, list) else c for c in completions]
    return [float((BOXED.findall(text) or [""])[-1].strip() == gold) for text, gold in zip(texts, answer, strict=True)]


class Clock(TrainerCallback):
    def __init__(self):
        self.times, self.flat = [], []

    def on_step_end(self, *_, **__):
        self.times.append(time.perf_counter())

    def on_log(self, args, state, control, logs=None, **_):
        if "frac_reward_zero_std" in (logs or {}):
            self.flat.append(float(logs["frac_reward_zero_std"]))


def main() -> None:
    model, problems, steps, batch, group = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
    torch.set_num_threads(1)
    rows = [json.loads(line) for line in open(problems)]
    rows = [{"prompt": r["messages"], "answer": r["answer"]} for r in rows if r["kind"] == "math"]
    micro = 64
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder, use_cpu=True, bf16=False, fp16=False, max_steps=steps, learning_rate=3e-5,
            per_device_train_batch_size=micro, gradient_accumulation_steps=batch * group // micro, num_generations=group,
            max_completion_length=96, temperature=1.0, top_p=1.0, beta=0.0, epsilon=0.2, epsilon_high=0.28,
            loss_type="dapo", logging_steps=1, save_strategy="no", report_to=[], disable_tqdm=True, seed=0,
            gradient_checkpointing=False,
        )  # fmt: skip
        clock = Clock()
        trainer = GRPOTrainer(
            model=model, reward_funcs=right, args=config, train_dataset=Dataset.from_list(rows), callbacks=[clock]
        )
        began = time.perf_counter()
        trainer.train()
    times = [began, *clock.times]
    seconds = [b - a for a, b in zip(times, times[1:], strict=False)]
    print(json.dumps({"seconds": seconds, "flat": clock.flat}))


if __name__ == "__main__":
    main()
