"""Backends behind one protocol: ours; servers by HTTP against `openmimo serve` and a scripted one; vLLM where it is."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from miniature import CONFIG, model_of
from test_server import CHAT, expected, folder, server  # noqa: F401 - fixtures

from openmimo.errors import UserError
from openmimo.infer.backends import Ask, Chats, Ours
from openmimo.infer.engine import Engine, Request, generate
from openmimo.infer.load import load_engine
from openmimo.infer.openai_backend import OpenAIServer, Server
from openmimo.infer.vllm_backend import VLLM, VLLMServer, settings_of
from openmimo.model.hub import load_checkpoint

torch.set_num_threads(1)
ASKS = [Ask(tuple(CHAT), 20, 0.8, 0.9, seed) for seed in range(6)]


def test_ours_is_the_engine():
    model, other = model_of(), model_of(seed=1)
    requests = [Request((5, 6, n), 10, ("b", n)) for n in range(5)]
    backend = Ours(Engine(model, [3], 4))
    assert backend.generate(requests) == generate(Engine(model, [3], 4), requests)
    backend.update_weights(other.state_dict(), 7)
    found = backend.generate(requests)
    assert [e.token_ids for e in found] == [e.token_ids for e in generate(Engine(other, [3], 4), requests)]
    assert {e.version for e in found} == {7}
    backend.close()


def test_an_openai_server_answers_in_order(server, expected):  # noqa: F811
    """Against our own server: each answer is the engine's for that seed, however many are asked at a time."""
    prompt = expected.tokenizer.encode_chat(CHAT)
    for workers in (1, 6):
        with OpenAIServer(server[0] + "/v1", "tiny", workers=workers) as oracle:
            found = oracle.answer(ASKS)
        for ask, answer in zip(ASKS, found, strict=True):
            text, event = expected(prompt, 20, seed=ask.seed, temperature=0.8, top_p=0.9)
            assert (answer.text, answer.finish_reason, answer.tokens) == (
                text,
                event.finish_reason,
                len(event.token_ids),
            )
    assert len({a.text for a in found}) > 1


def test_chats_over_a_backend(folder):  # noqa: F811
    engine, tokenizer = load_engine(folder, 4)
    found = Chats(Ours(engine), tokenizer).answer(ASKS)
    again = Chats(Ours(engine), tokenizer).answer(ASKS[::-1])[::-1]
    assert found == again and len({a.text for a in found}) > 1 and all(0 < a.tokens <= 20 for a in found)


@pytest.fixture
def scripted():
    """A server that gives the replies it is told, in order, and keeps what it was asked."""
    replies, asked = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, body, self.headers.get("Authorization")))
            status, reply = replies.pop(0)
            data = b"" if reply is None else json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}", replies, asked
        httpd.shutdown()


def said(**message) -> tuple[int, dict]:
    choice = {"message": {"role": "assistant"} | message, "finish_reason": "stop"}
    return 200, {"choices": [choice], "usage": {"completion_tokens": 3}}


def test_reasoning_wherever_a_server_puts_it(scripted):
    url, replies, asked = scripted
    with OpenAIServer(url, "m", key="secret", workers=1) as oracle:
        replies += [said(content="b", reasoning_content="a"), said(content="b", reasoning="a"),
                    said(content="<think>a</think>b"), said(content=None, reasoning="a")]  # fmt: skip
        found = oracle.answer(ASKS[:4])
    assert [(a.reasoning, a.text) for a in found] == [("a", "b"), ("a", "b"), ("a", "b"), ("a", "")]
    assert asked[0][2] == "Bearer secret" and asked[0][1]["seed"] == 0 and asked[3][1]["seed"] == 3


def test_what_may_pass_is_asked_again_and_a_refusal_is_told(scripted):
    url, replies, asked = scripted
    server = Server(url, waits_s=(0.0, 0.0))  # noqa: F811
    replies += [(503, {}), (429, {}), (200, {"ok": 1})]
    assert server.post("/x", {}) == {"ok": 1} and len(asked) == 3
    replies += [(400, {"error": "too long"})]
    with pytest.raises(UserError, match="/x: status 400 .*too long"):
        server.post("/x", {})
    replies += [(500, {})] * 3
    with pytest.raises(UserError, match="status 500"):
        server.post("/x", {})
    assert replies == [] and len(asked) == 7
    with pytest.raises(UserError, match="no answer .*check the server"):
        Server("http://127.0.0.1:9", waits_s=(0.0,)).post("/x", {})


def test_a_vllm_server_gets_requests_and_weights_by_its_own_api(scripted, tmp_path):
    """The calls that vLLM 0.32 documents; the server is scripted here, a real one needs a GPU."""
    url, replies, asked = scripted
    model, exchange = model_of(), tmp_path / "weights"
    backend = VLLMServer(url, "m", CONFIG, [3], exchange, workers=1)
    replies += [
        (
            200,
            {"choices": [{"token_ids": [5, 3], "logprobs": {"token_logprobs": [-1.0, -2.0]}, "finish_reason": "stop"}]},
        )
    ]
    (event,) = backend.generate([Request((8, 9), 4, ("r", 0), top_k=5)])
    assert (event.token_ids, event.logprobs, event.finish_reason) == ([5, 3], [-1.0, -2.0], "stop")
    path, body, _ = asked[0]
    assert path == "/v1/completions" and body["prompt"] == [8, 9] and body["stop_token_ids"] == [3]
    assert body["top_k"] == 5 and 0 <= body["seed"] < 2**63
    replies += [(200, {"results": [None]}), (200, None)]
    backend.update_weights(model.state_dict(), 4)
    assert asked[1][:2] == ("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(exchange)}})
    assert asked[2][0] == "/reset_prefix_cache" and backend.version == 4
    assert all(
        torch.equal(a, b) for a, b in zip(load_checkpoint(exchange).parameters(), model.parameters(), strict=True)
    )
    backend.close()


def test_what_vllm_cannot_do_is_refused():
    with pytest.raises(UserError, match="stop strings"):
        settings_of(Request((1,), 4, stop=("x",)), [])
    try:
        import vllm  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match=r"pip install 'openmimo\[vllm\]'"):
            VLLM("nowhere", [], "nowhere")
