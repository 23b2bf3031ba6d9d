"""Checkpoint folders in the HF layout: config.json, generation_config.json, model*.safetensors, tokenizer files [R 2.4].

    python -c "from openmimo.model.hub import load_checkpoint; print(load_checkpoint('runs/smoke/base').config)"

Reads what transformers writes for Qwen2 and Llama, and the released MiMo layout; writes the profiles `mimo` (all
tensors), `qwen2` and `llama` (the main model alone; `llama` has no biases). A folder appears whole or not at all.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from openmimo.errors import UserError
from openmimo.model.config import ARCHITECTURES, ModelConfig
from openmimo.model.tokenizer import Tokenizer
from openmimo.model.transformer import Transformer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
TOKENIZER_FILES = """tokenizer.json tokenizer_config.json special_tokens_map.json added_tokens.json vocab.json merges.txt
tokenizer.model chat_template.jinja""".split()
SAMPLING = {"do_sample": True, "temperature": 0.6, "top_p": 0.95}  # the authors' [R 3.5]
SHARD_BYTES = 5_000_000_000
INDEX = "model.safetensors.index.json"


def save_checkpoint(
    folder: str | Path,
    model: Transformer,
    tokenizer: str | Path | Iterable[str | Path] | None = None,
    *,
    profile: str = "mimo",
    dtype: str = "float32",
    eos_id: int | None = None,
    extra: dict[str, Any] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Path:
    """Writes `model` as a checkpoint folder and returns its path; an older folder of that name is replaced.

    tokenizer: a folder whose tokenizer files are copied, or the files; extra: further keys of config.json (they
    win); shard_bytes: above this size the weights are split and indexed. All is written to a hidden sibling folder,
    fsynced and renamed, so an error or a kill leaves nothing half-written under the name. Raises UserError for a
    full disk, an unknown profile or dtype, and a model that the profile cannot hold.
    """
    folder = Path(folder)
    tensors = _tensors_of(model, profile, dtype)
    served = model.config.model_copy(update={"rope_base": model.rope_base})  # the base of the last stage
    config = served.to_hf(profile, eos_id, dtype) | (extra or {})
    files = _tokenizer_files(tokenizer)
    part = folder.with_name(f".{folder.name}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(part, ignore_errors=True)  # what a killed run left
        part.mkdir()
        _write_json(part / "config.json", config)
        ids = {k: config[k] for k in ("bos_token_id", "eos_token_id", "pad_token_id") if config.get(k) is not None}
        _write_json(part / "generation_config.json", ids | SAMPLING)
        for file in files:
            shutil.copyfile(file, part / file.name)
        _write_weights(part, tensors, DTYPES[dtype], shard_bytes)
        _replace(part, folder)
    except (OSError, SafetensorError) as error:
        raise _write_error(folder, error) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def save_into(folder: Path, model: Transformer, source: Path) -> None:
    """Writes a stage's checkpoint beside its log: the tokenizer of `source` with its end tokens, and where `source` is a
    checkpoint its profile too, so that a Qwen2 folder in gives a Qwen2 folder out."""
    tokenizer = Tokenizer.load(source)
    was = read_json(source / "config.json") if (source / "config.json").is_file() else {}
    extra = {key: was[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if was.get(key) is not None}
    extra = {"eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.document_id} | extra
    whole = save_checkpoint(folder / "weights", model, source, profile=was.get("model_type", "mimo"), extra=extra)
    for path in whole.iterdir():
        path.replace(folder / path.name)
    whole.rmdir()


def load_checkpoint(folder: str | Path, mtp_layers: int | None = None, dtype: str | None = "float32") -> Transformer:
    """Reads a Qwen2, Llama or MiMo folder into a Transformer on the CPU.

    mtp_layers: None takes the folder's MTP blocks; fewer drops the later ones; with none in the folder, that many
    new ones are drawn (seed 0). dtype: of the parameters; None keeps the files'. Raises UserError naming file and
    tensor for what is missing, unexpected, of a wrong shape or damaged.
    """
    folder = Path(folder)
    config = ModelConfig.from_folder(folder)
    if dtype is not None and dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r} is not known; use one of {', '.join(DTYPES)}")
    stored = config.mtp_layers
    wanted = stored if mtp_layers is None else mtp_layers
    if wanted > stored > 0 or wanted < 0:
        raise UserError(f"{folder}: {wanted} MTP layers asked for, it holds {stored}; ask for 0 to {stored}")
    found = stored_tensors(folder)
    expected = config.model_copy(update={"mtp_layers": min(wanted, stored)})
    _check_names(folder, expected, found, drop_mtp=mtp_layers is not None and wanted <= stored)
    cast = dtype and DTYPES[dtype]
    state = _read_tensors({n: found[n][0] for n in expected.tensors()}, cast)
    embedding = state["model.embed_tokens.weight"]
    if config.tied:
        if "lm_head.weight" in found:
            _check_tied(found["lm_head.weight"][0], embedding, cast)
        state["lm_head.weight"] = embedding
    config = config.model_copy(update={"mtp_layers": wanted})
    if wanted > stored:
        state |= _new_mtp(config, embedding.dtype)
    with torch.device("meta"):
        model = Transformer(config)
    model.load_state_dict(state, assign=True)
    if config.tied:
        model.lm_head.weight = model.model.embed_tokens.weight
    return model


def stored_tensors(folder: str | Path) -> dict[str, tuple[Path, tuple[int, ...], str]]:
    """Name -> (file, shape, safetensors dtype such as `BF16`) of every tensor of a folder, from the headers alone."""
    folder, index, single = Path(folder), Path(folder) / INDEX, Path(folder) / "model.safetensors"
    weight_map: dict[str, str] | None = None
    if index.is_file():
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise UserError(f"{index}: no weight_map; copy the checkpoint again")
        files = sorted({str(name) for name in weight_map.values()})
    elif single.is_file():
        files = [single.name]
    else:
        raise UserError(f"{folder}: no model.safetensors and no {INDEX}; give a folder with safetensors weights")
    found: dict[str, tuple[Path, tuple[int, ...], str]] = {}
    for name in files:
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise UserError(f"{index}: file {name!r} is not in the folder; copy the checkpoint again")
        with _open(path) as file:
            for key in file.keys():
                part = file.get_slice(key)
                found[key] = (path, tuple(part.get_shape()), str(part.get_dtype()))
    for key in weight_map or {}:
        if key not in found:
            raise UserError(f"{index}: tensor {key} is in none of its files; copy the checkpoint again")
    return found


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises UserError when the file is absent or holds anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give a checkpoint folder in the HF layout") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not JSON ({error}); copy the checkpoint again") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a JSON object; copy the checkpoint again")
    return value


def _tensors_of(model: Transformer, profile: str, dtype: str) -> dict[str, Tensor]:
    """The tensors of `profile` in the order of the layout, still the model's own memory."""
    config = model.config
    if profile not in ARCHITECTURES:
        raise UserError(f"profile {profile!r} is not known; use one of {', '.join(ARCHITECTURES)}")
    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r} is not known; use one of {', '.join(DTYPES)}")
    if (profile == "qwen2" and not config.qkv_bias) or (profile == "llama" and config.qkv_bias):
        has, other = ("no biases", "llama") if profile == "qwen2" else ("q, k and v biases", "qwen2")
        raise UserError(f"profile {profile!r}: this model has {has}; use profile {other!r}")
    state = model.state_dict()
    return {name: state[name].detach() for name in config.tensors(profile)}


def _tokenizer_files(tokenizer: str | Path | Iterable[str | Path] | None) -> list[Path]:
    if tokenizer is None:
        return []
    if isinstance(tokenizer, str | Path):
        files = [Path(tokenizer) / name for name in TOKENIZER_FILES if (Path(tokenizer) / name).is_file()]
        if not files:
            raise UserError(f"{tokenizer}: no tokenizer files there; give a folder with tokenizer.json")
        return files
    files = [Path(file) for file in tokenizer]
    for file in files:
        if not file.is_file():
            raise UserError(f"{file}: no such tokenizer file")
    return files


def _write_weights(folder: Path, tensors: dict[str, Tensor], dtype: torch.dtype, shard_bytes: int) -> None:
    """One model.safetensors, or shards with an index when the tensors exceed `shard_bytes`; cast shard by shard."""
    shards: list[dict[str, Tensor]] = [{}]
    total = filled = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * dtype.itemsize
        if shards[-1] and filled + size > shard_bytes:
            shards.append({})
            filled = 0
        shards[-1][name] = tensor
        filled, total = filled + size, total + size
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        one = len(shards) == 1
        file = "model.safetensors" if one else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        whole = {n: t.to("cpu", dtype, copy=True).contiguous() for n, t in shard.items()}
        save_file(whole, str(folder / file), metadata={"format": "pt"})
        weight_map |= dict.fromkeys(shard, file)
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        _write_json(folder / INDEX, index)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _replace(part: Path, folder: Path) -> None:
    """fsyncs every file of `part` and gives it the name `folder`; an older folder is moved aside, then removed."""
    for path in (*part.iterdir(), part):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    old = folder.with_name(f".{folder.name}.old")
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    part.rename(folder)
    descriptor = os.open(folder.parent, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    shutil.rmtree(old, ignore_errors=True)


def _write_error(folder: Path, error: Exception) -> UserError:
    """safetensors reports an OSError as text with its number; both become one line for the user."""
    number = getattr(error, "errno", None)
    if match := re.search(r"os error (\d+)", str(error)):
        number = int(match.group(1))
    if number in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"{folder}: the disk is full; free some space and run the same command again")
    reason = os.strerror(number) if number else str(error)
    return UserError(f"{folder}: cannot write the checkpoint ({reason}); check the path and its permissions")


def _open(path: Path):
    try:
        return safe_open(str(path), framework="pt", device="cpu")
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged safetensors file ({error}); copy the checkpoint again") from None


def _check_names(folder: Path, config: ModelConfig, found: dict, drop_mtp: bool) -> None:
    """Every tensor of the config is there with its shape and a float type, and no other (MTP: unless `drop_mtp`)."""
    expected = config.tensors()
    for name, shape in expected.items():
        if name not in found:
            raise UserError(f"{folder}: tensor {name} is missing; config.json and weights do not belong together")
        path, actual, dtype = found[name]
        if actual != shape:
            raise UserError(f"{path}: tensor {name} has shape {list(actual)}, config.json says {list(shape)}")
        if dtype not in ("F32", "F16", "BF16", "F64"):
            raise UserError(f"{path}: tensor {name} is stored as {dtype}; give an unquantised checkpoint")
    for name in found.keys() - expected.keys():
        constant = name.endswith("rotary_emb.inv_freq")  # in old Llama folders; follows from config.json
        if not (constant or (config.tied and name == "lm_head.weight") or (drop_mtp and ".mtp_layers." in name)):
            raise UserError(f"{found[name][0]}: unexpected tensor {name}; config.json does not describe it")


def _read_tensors(files: dict[str, Path], dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Name -> tensor in memory of its own (aligned, not the mapped file), cast to `dtype` unless it is None."""
    state = {}
    for name, path in files.items():
        with _open(path) as file:  # anew for each: an open file's pages count as memory once they were read
            tensor = file.get_tensor(name)
            state[name] = tensor.to(dtype or tensor.dtype, copy=True)
    return state


def _check_tied(path: Path, embedding: Tensor, dtype: torch.dtype | None) -> None:
    if not torch.equal(_read_tensors({"lm_head.weight": path}, dtype)["lm_head.weight"], embedding):
        raise UserError(f"{path}: lm_head.weight differs from the embedding that config.json ties it to; untie them")


def _new_mtp(config: ModelConfig, dtype: torch.dtype) -> dict[str, Tensor]:
    """Freshly drawn MTP blocks, as state-dict entries; drawn in a model of one layer, with the full one's scales."""
    fresh = Transformer(config.model_copy(update={"vocab_size": 1, "layers": 1}))
    fresh.config = config
    fresh.reset_parameters(seed=0)
    return {n: t.to(dtype) for n, t in fresh.state_dict().items() if n.startswith("model.mtp_layers.")}
