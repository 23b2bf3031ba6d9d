"""Counter-based sampling: numbers that depend on seed, key and position alone, tokens with the logits' distribution."""

import numpy as np
import torch

from openmimo.infer.sampling import exponentials, sample, stream_of, uniforms

torch.set_num_threads(1)


def test_a_number_depends_on_seed_key_and_position_alone():
    streams = np.array([stream_of(0, ("a", n)) for n in range(1000)], dtype=np.uint64)
    numbers = uniforms(streams, np.zeros(1000, dtype=np.int64))
    assert ((numbers >= 0) & (numbers < 1)).all() and len(set(numbers.tolist())) == 1000
    assert uniforms(streams[5:6], np.array([0]))[0] == numbers[5]
    assert uniforms(streams[::-1], np.zeros(1000, dtype=np.int64))[::-1].tolist() == numbers.tolist()
    assert stream_of(0, ("a", 1)) != stream_of(1, ("a", 1)) != stream_of(1, ("a", "1"))
    assert stream_of(0, (1, 11)) != stream_of(0, (11, 1)) and stream_of(0, (1,)) != stream_of(0, ())


def test_numbers_are_uniform_and_neighbours_are_independent():
    """Mean, and counts in ten bins, of 20,000 numbers along positions and along keys; neighbours in a 5 x 5 table."""
    along_keys = np.array([stream_of(0, ("rollout", 0, n, s)) for n in range(1250) for s in range(16)], dtype=np.uint64)
    rows = [
        uniforms(along_keys, np.zeros(20_000, dtype=np.int64)),
        uniforms(np.full(20_000, stream_of(0, ("x",)), dtype=np.uint64), np.arange(20_000)),
    ]
    for numbers in rows:
        assert abs(numbers.mean() - 0.5) < 0.01
        counts = np.bincount((numbers * 10).astype(int), minlength=10)
        assert chi_square(counts, np.full(10, 2000.0)) < 27.9  # 9 degrees of freedom, p = 0.001
        pairs = (numbers[:-1] * 5).astype(int) * 5 + (numbers[1:] * 5).astype(int)
        assert chi_square(np.bincount(pairs, minlength=25), np.full(25, len(pairs) / 25)) < 51.2  # 24, p = 0.001


def chi_square(counts, expected) -> float:
    return float(((counts - expected) ** 2 / expected).sum())


def test_samples_have_the_distribution_of_the_logits():
    """8 tokens, 20,000 keys; plain, warm, nucleus and top-k. The filters are recomputed here by hand."""
    logits = torch.tensor([2.0, 1.5, 1.0, 0.5, 0.0, -0.5, -1.0, -9.0])
    count = 20_000
    streams = np.array([stream_of(0, ("k", n)) for n in range(count)], dtype=np.uint64)
    noise = exponentials(streams, np.zeros(count, dtype=np.int64), 8)
    for temperature, top_k, top_p in ((1.0, 0, 1.0), (0.6, 0, 1.0), (1.0, 0, 0.8), (1.0, 3, 1.0), (0.6, 5, 0.7)):
        p = np.exp(logits.double().numpy() / temperature)
        p[top_k or 8 :] = 0
        p /= p.sum()
        kept = next(k for k in range(1, 9) if p[:k].sum() >= top_p - 1e-12)
        assert (1 < kept < 7) == (top_p < 1 or top_k > 0)
        p = np.where(np.arange(8) < kept, p, 0) / p[:kept].sum()
        how = torch.full((count,), temperature), torch.full((count,), top_k), torch.full((count,), top_p)
        ids = sample(logits.expand(count, 8), noise, *how)
        counts = np.bincount(ids.numpy(), minlength=8)
        assert (counts[p == 0] == 0).all()
        likely = p * count > 5
        assert chi_square(counts[likely], p[likely] * count) < 24.3  # 7 degrees of freedom, p = 0.001
        wrong = np.roll(p, 1)  # negative control
        assert chi_square(counts[wrong > 0], wrong[wrong > 0] * count) > 1000


def test_a_rows_token_does_not_depend_on_its_neighbours():
    """Mixed temperatures and filters in one call, against each row alone."""
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(40, 300)).astype(np.float32) * 3)
    noise = exponentials(np.arange(40, dtype=np.uint64), np.arange(40), 300)
    how = [torch.tensor(rng.choice(x, 40)) for x in ([0.0, 0.6, 1.0, 1.7], [0, 0, 1, 7], [1.0, 0.5, 0.9])]
    together = sample(logits, noise, *how)
    for n in range(40):
        assert sample(logits[n : n + 1], noise[n : n + 1], *(h[n : n + 1] for h in how)) == together[n]
    greedy = how[0] == 0
    assert torch.equal(together[greedy], logits[greedy].argmax(-1)) and (together != logits.argmax(-1)).any()
    assert torch.equal(sample(logits, None, torch.zeros(40), *how[1:]), logits.argmax(-1))


def test_noise_is_exponential_and_fresh_for_each_token_and_position():
    """Mean, spread and tail of 800 x 1,000 numbers; no correlation between neighbours in either direction."""
    streams = np.array([stream_of(0, ("n", n // 4)) for n in range(800)], dtype=np.uint64)
    noise = exponentials(streams, np.arange(800) % 4, 1000)
    assert torch.isfinite(noise).all() and (noise > 0).all()
    assert abs(noise.mean() - 1) < 0.01 and abs(noise.std() - 1) < 0.02
    for tail in (1.0, 3.0, 6.0):
        assert abs((noise > tail).double().mean() / np.exp(-tail) - 1) < 0.06
    for one, two in ((noise[:, :-1], noise[:, 1:]), (noise[:-1], noise[1:]), (noise[:-4], noise[4:])):
        assert abs(np.corrcoef(one.flatten(), two.flatten())[0, 1]) < 0.005
    assert torch.equal(exponentials(streams[9:10], np.array([1]), 700), noise[9:10, :700])
