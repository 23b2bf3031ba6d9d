"""The server, by OpenAI's own client over a real socket: the engine's text, streams, usage, log-probabilities, errors."""

import json
import math
import socket
import threading
import time

import httpx
import openai
import pytest
import uvicorn
from miniature import CONFIG, checkpoint_folder
from rich.console import Console

from openmimo.errors import UserError
from openmimo.infer.engine import Event, Request, generate
from openmimo.infer.load import load_engine
from openmimo.infer.serve import serve
from openmimo.infer.server import app_of
from openmimo.infer.speech import Speech, split_reasoning
from openmimo.model.tokenizer import Tokenizer

CHAT = [{"role": "user", "content": "What is 2 + 2?"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Some ids more end a text, so that some texts end."""
    folder = checkpoint_folder(tmp_path_factory.mktemp("server") / "model", max_length=4096)
    config = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(config | {"eos_token_id": list(range(20, 40))}))
    return folder


@pytest.fixture(scope="module")
def server(folder):
    """(URL, app) of a server with four slots."""
    engine, tokenizer = load_engine(folder, slots=4)
    app, listener = app_of(engine, tokenizer, "tiny"), socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", app
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=server[0] + "/v1", api_key="none", max_retries=0, timeout=60)


@pytest.fixture(scope="module")
def expected(folder):
    """What the engine itself says: (text without the end token, event)."""
    engine, tokenizer = load_engine(folder, slots=4)

    def of(prompt, limit, choice=0, seed=7, **more):
        (event,) = generate(engine, [Request(tuple(prompt), limit, ("serve", choice), seed=seed, **more)])
        return tokenizer.decode(event.token_ids[:-1] if event.finish_reason == "stop" else event.token_ids), event

    of.tokenizer = tokenizer
    return of


def test_a_chat_is_the_engines_text(client, expected):
    prompt = expected.tokenizer.encode_chat(CHAT)
    found = client.chat.completions.create(model="tiny", messages=CHAT, max_tokens=24, seed=7, n=3, temperature=0.8)
    assert len(found.choices) == 3 and found.object == "chat.completion" and found.model == "tiny"
    events = []
    for n, choice in enumerate(found.choices):
        text, event = expected(prompt, 24, n, temperature=0.8)
        assert (choice.index, choice.message.content, choice.finish_reason) == (n, text, event.finish_reason)
        events.append(event)
    assert found.usage.prompt_tokens == len(prompt)
    assert found.usage.completion_tokens == sum(len(e.token_ids) for e in events)
    assert found.usage.total_tokens == found.usage.prompt_tokens + found.usage.completion_tokens


def test_a_stream_joined_is_the_whole(client):
    how = {"model": "tiny", "messages": CHAT, "max_tokens": 24, "seed": 3, "n": 2}
    whole = client.chat.completions.create(**how)
    texts, reasons, usage = ["", ""], [None, None], None
    for chunk in client.chat.completions.create(**how, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert texts == [c.message.content for c in whole.choices]
    assert reasons == [c.finish_reason for c in whole.choices] and usage == whole.usage


def test_completions_of_text_and_of_token_ids(client, expected):
    prompts = ["2 + 2 =", "Ask for"]
    ids = [expected.tokenizer.encode(p) for p in prompts]
    for prompt in (prompts, ids):
        found = client.completions.create(model="tiny", prompt=prompt, max_tokens=9, seed=7)
        assert [c.text for c in found.choices] == [expected(p, 9, n)[0] for n, p in enumerate(ids)]
    one = client.completions.create(model="tiny", prompt=ids[0], max_tokens=9, seed=7)
    assert one.choices[0].text == found.choices[0].text
    streamed = client.completions.create(model="tiny", prompt=ids[0], max_tokens=9, seed=7, stream=True)
    assert "".join(c.choices[0].text for c in streamed) == one.choices[0].text


def test_logprobs(client, expected):
    """Of the unfiltered logits at temperature 1, whatever the sampling."""
    prompt = expected.tokenizer.encode_chat(CHAT)
    _, event = expected(prompt, 8, temperature=0.5, top_logprobs=3)
    how = {"model": "tiny", "messages": CHAT, "max_tokens": 8, "seed": 7, "temperature": 0.5}
    (choice,) = client.chat.completions.create(**how, logprobs=True, top_logprobs=3).choices
    rows = choice.logprobs.content
    assert [r.logprob for r in rows] == pytest.approx(event.logprobs, abs=1e-5)
    assert [[t.logprob for t in r.top_logprobs] for r in rows] == [
        pytest.approx([p for _, p in top], abs=1e-5) for top in event.top_logprobs
    ]
    assert [bytes(r.bytes).decode() for r in rows] == [r.token for r in rows]
    assert all(math.exp(r.logprob) <= 1 for r in rows)
    found = client.completions.create(model="tiny", prompt=prompt, max_tokens=8, seed=7, temperature=0.5, logprobs=2)
    logprobs = found.choices[0].logprobs
    assert logprobs.token_logprobs == pytest.approx(event.logprobs, abs=1e-5)
    assert logprobs.tokens == [r.token for r in rows] and len(logprobs.top_logprobs[0]) == 2
    assert logprobs.text_offset == [sum(map(len, logprobs.tokens[:n])) for n in range(len(rows))]


def test_seeds(client):
    how = {"model": "tiny", "messages": CHAT, "max_tokens": 16}
    texts = [
        client.chat.completions.create(**how, **s).choices[0].message.content
        for s in ({"seed": 1}, {"seed": 1}, *[{}] * 6)
    ]
    assert texts[0] == texts[1]
    assert len(set(texts[2:])) > 2  # some may be empty


def test_a_stop_string_is_cut_off(client, expected):
    prompt = expected.tokenizer.encode_chat(CHAT)
    text, _ = expected(prompt, 24, seed=1)
    stop = text[5:7]
    how = {"model": "tiny", "messages": CHAT, "max_tokens": 24, "seed": 1, "stop": [stop, "never this"]}
    (choice,) = client.chat.completions.create(**how).choices
    assert (choice.message.content, choice.finish_reason) == (text[: text.index(stop)], "stop")
    pieces = [c.choices[0].delta.content or "" for c in client.chat.completions.create(**how, stream=True)]
    assert "".join(pieces) == choice.message.content


BAD = [
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "user"}]}, "messages.0.content"),
    ({"messages": CHAT, "temperature": -1}, "temperature"),
    ({"messages": CHAT, "temperature": "hot"}, "temperature"),
    ({"messages": CHAT, "top_p": 0}, "top_p"),
    ({"messages": CHAT, "n": 0}, "n"),
    ({"messages": CHAT, "max_tokens": 0}, "max_tokens"),
    ({"messages": CHAT, "max_tokens": 5000}, "exceeds the model's 4096 positions"),
    ({"messages": [{"role": "user", "content": "2 " * 5000}]}, "exceeds the model's 4096 positions"),
    ({"messages": CHAT, "logit_bias": {"5": 1}}, "logit_bias: is not supported"),
    ({"messages": CHAT, "tools": []}, "tools: is not supported"),
    ({"messages": CHAT, "presence_penalty": 0.5}, "presence_penalty"),
    ({"messages": CHAT, "top_logprobs": 2}, "set logprobs to true"),
    ({"messages": CHAT, "stop": ["a", ""]}, "stop"),
    ({"messages": CHAT, "stream_options": {"include_usage": True}}, "set stream to true"),
    ({}, "messages"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "reason"), BAD, ids=[reason[:24] for _, reason in BAD])
def test_a_bad_request_gets_400_and_its_reason(server, body, reason):
    found = httpx.post(server[0] + "/v1/chat/completions", json={"model": "tiny"} | body)
    assert found.status_code == 400 and reason in found.json()["error"]["message"], found.text


def test_other_refusals(server, client):
    for body in (b"{", b"[1]", b"\xff"):
        found = httpx.post(server[0] + "/v1/completions", content=body)
        assert found.status_code == 400 and "body" in found.json()["error"]["message"]
    for prompt in ([CONFIG.vocab_size], [-1], [], ""):
        with pytest.raises(openai.BadRequestError, match="prompt"):
            client.completions.create(model="tiny", prompt=prompt)
    with pytest.raises(openai.NotFoundError, match="this is 'tiny'"):
        client.chat.completions.create(model="other", messages=CHAT)
    assert httpx.get(server[0] + "/v1/nothing").status_code == 404
    assert httpx.get(server[0] + "/v1/chat/completions").status_code == 405


def metric(url: str, name: str) -> int:
    lines = httpx.get(url + "/metrics").text.splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[-1])


def until(condition, seconds: float = 60) -> bool:
    """Whether it becomes true in time; the time is for a loaded machine."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_frees_its_slots(server, client, stream, monkeypatch):
    """Five answers without an end on four slots; the client leaves in the middle."""
    url, app = server
    monkeypatch.setattr(app.state.service.loop.engine, "stop_ids", frozenset())
    loop, aborted = app.state.service.loop, metric(url, 'openmimo_requests_total{end="abort"}')
    body = {"model": "tiny", "prompt": [40, 41], "max_tokens": 4000, "n": 5, "stream": stream, "seed": 0}
    host, port = url.removeprefix("http://").split(":")
    raw = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(raw)}\r\n\r\n".encode()
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head + raw)
        if stream:
            assert b"200 OK" in connection.recv(4096)
        assert until(lambda: metric(url, "openmimo_requests_active") == 5)
    assert until(lambda: metric(url, "openmimo_requests_active") == 0)
    assert metric(url, 'openmimo_requests_total{end="abort"}') > aborted
    assert until(lambda: not loop.engine.busy)
    assert client.completions.create(model="tiny", prompt="2", max_tokens=2).choices[0].finish_reason


def test_health_models_and_metrics(server, client):
    url, _ = server
    assert httpx.get(url + "/health").json() == {"status": "ok"}
    assert [m.id for m in client.models.list()] == ["tiny"]
    before = metric(url, "openmimo_tokens_total"), metric(url, 'openmimo_requests_total{end="refused"}')
    used = client.completions.create(model="tiny", prompt="2 + 2", max_tokens=5).usage.completion_tokens
    httpx.post(url + "/v1/completions", json={})
    assert metric(url, "openmimo_tokens_total") - before[0] == used
    assert metric(url, 'openmimo_requests_total{end="refused"}') - before[1] == 1


def test_an_engine_that_fails_says_so(folder):
    from starlette.testclient import TestClient

    engine, tokenizer = load_engine(folder, slots=1)
    engine.step = lambda: 1 // 0
    with TestClient(app_of(engine, tokenizer, "tiny"), raise_server_exceptions=False) as client:
        for _ in range(2):
            found = client.post("/v1/completions", json={"model": "tiny", "prompt": "2"})
            assert found.status_code == 500 and "ZeroDivisionError" in found.json()["error"]["message"]
        assert client.get("/health").status_code == 503


@pytest.mark.parametrize("port", ["taken", 70_000])
def test_a_port_that_cannot_be_had_is_a_user_error(folder, server, port):
    port = int(server[0].rsplit(":", 1)[1]) if port == "taken" else port
    with pytest.raises(UserError, match="cannot listen on 127.0.0.1"):
        serve(folder, "127.0.0.1", port, None, 1, 0, Console(quiet=True))


# Reasoning and answer

SPLITS = [
    ("<think>\na\n</think>\nb", False, ("\na\n", "\nb")),
    (" \n<think>a</think>b</think>c", False, ("a", "b</think>c")),
    ("<think>a", False, ("a", "")),
    ("a</think>b", False, ("", "a</think>b")),
    ("a</think>b", True, ("a", "b")),
    ("a <think>b</think>", False, ("", "a <think>b</think>")),
]


@pytest.mark.parametrize(("text", "opened", "parts"), SPLITS)
def test_split_reasoning_by_hand(text, opened, parts):
    assert split_reasoning(text, opened) == parts


@pytest.mark.parametrize(("text", "opened", "parts"), SPLITS)
@pytest.mark.parametrize("size", [1, 2, 100])
def test_pieces_join_to_the_split(folder, text, opened, parts, size):
    """Token by token and in lumps; no piece takes anything back."""
    tokenizer = Tokenizer.load(folder)
    text += " naïve 数学 🙂"
    ids, speech, said = tokenizer.encode(text), Speech(tokenizer, (), True, opened), ["", ""]
    for at in range(0, len(ids), size):
        part = ids[at : at + size]
        reason = "length" if at + size >= len(ids) else None
        for n, piece in enumerate(speech.push(Event(1, part, [0.0] * len(part), reason))):
            said[n] += piece
    assert tuple(said) == split_reasoning(text, opened)


def test_the_end_of_a_stop_string_is_never_said_early(folder):
    tokenizer = Tokenizer.load(folder)
    speech, said = Speech(tokenizer, ("=== end",), False), ""
    for i in tokenizer.encode("1 === e 2 === end of it"):
        said += speech.push(Event(1, [i], [0.0], None))[1]
        assert "1 === e 2 ".startswith(said) or said == "1 === e 2 "
    assert said == "1 === e 2 "
