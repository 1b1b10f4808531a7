"""Decoding: what a row gives depends on its prompt alone."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flanmix.data.packing import pack_row
from flanmix.data.tokens import Lengths
from flanmix.errors import UserError
from flanmix.evaluate.decode import Decoding, generate, stream
from flanmix.evaluate.sampling import Sampling
from flanmix.evaluate.token_loop import advance, start
from flanmix.model.decoder import DecoderConfig
from flanmix.model.sharding import make_mesh
from tests.evaluate.models import (
    ARCHITECTURES,
    EOS,
    example,
    forward,
    random_ids,
    spread,
    tiny_model,
)

NEW = 6


def decoding_of(model, batch_size=4, end_ids=(EOS,), **options):
    return Decoding(
        model,
        max_length=16,
        max_new_tokens=options.pop("max_new_tokens", NEW),
        batch_size=batch_size,
        end_ids=end_ids,
        **options,
    )


def decode(model, prompts, batch_size=4, end_ids=(EOS,), **options):
    answers = generate(decoding_of(model, batch_size, end_ids, **options), prompts)
    return [answer[0].ids for answer in answers]


def prompts_of(architecture, seed=0):
    rng = np.random.default_rng(seed)
    tail = [EOS] if architecture == "encoder_decoder" else []
    return [np.array([*random_ids(rng, 1, n), *tail], np.int32) for n in (15, 3, 15, 15)]


def slow_greedy(model, prompt, architecture, eos_id, start_id=0):
    """Decodes one prompt without a cache: the whole sequence again for every token."""
    lengths = Lengths(16, NEW, architecture)
    new: list[int] = []
    while len(new) < NEW and eos_id not in new:
        targets = np.array([*new, 0], np.int32)  # the 0 holds the place of the token to come
        row = pack_row(
            [example([], [], lengths)._replace(inputs=prompt, targets=targets)], lengths, start_id
        )
        logits = forward(model, {name: jnp.asarray(x)[None] for name, x in row.items()})
        at = len(new) if lengths.two_sided else len(prompt) - (start_id is None) + len(new)
        new.append(int(logits[0, at].argmax()))
    return new


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_batch_gives_what_each_prompt_gives_alone(architecture):
    model, prompts = tiny_model(architecture), prompts_of(architecture)
    together = decode(model, prompts)
    for i, prompt in enumerate(prompts):
        (alone,) = decode(model, [prompt])
        assert together[i].tolist() == alone.tolist()
        assert alone.tolist() == slow_greedy(model, prompt, architecture, EOS)


@pytest.mark.parametrize("architecture", ["causal", "prefix"])
def test_without_a_start_token_a_prompt_is_read_as_it_is(architecture):
    model, prompts = tiny_model(architecture), prompts_of(architecture)
    for prompt, answer in zip(prompts, decode(model, prompts, start_id=None), strict=True):
        assert answer.tolist() == slow_greedy(model, prompt, architecture, EOS, None)
    with pytest.raises(UserError, match="a prompt has no tokens"):
        decode(model, [*prompts, np.zeros(0, np.int32)], start_id=None)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_row_ends_at_its_own_eos(architecture):
    model, prompts = tiny_model(architecture), prompts_of(architecture)
    free = decode(model, prompts, end_ids=())
    assert {len(answer) for answer in free} == {NEW}
    eos = int(free[0][2])
    for answer, whole in zip(decode(model, prompts, end_ids=(eos,)), free, strict=True):
        kept = whole.tolist()
        assert answer.tolist() == (kept[: kept.index(eos) + 1] if eos in kept else kept)


def test_three_widths_at_most_and_any_number_of_prompts():
    model = tiny_model("causal")
    prompts = [np.full(n, 5, np.int32) for n in range(1, 17)]
    before = start._cache_size(), advance._cache_size()
    answers = decode(model, prompts)
    assert start._cache_size() <= before[0] + 3
    assert advance._cache_size() <= before[1] + 3
    assert len(answers) == 16
    assert all(1 <= len(answer) <= NEW for answer in answers)
    assert decode(model, []) == []


DRAWN = Sampling(temperature=1.5, top_p=0.95, seed=7)


def test_a_prompt_gives_the_same_text_whatever_is_beside_it():
    model = tiny_model("causal")
    prompts = [np.arange(3, 3 + n, dtype=np.int32) for n in (9, 12, 15, 11)]
    together = decode(model, prompts, sampling=DRAWN)
    assert [ids.tolist() for ids in decode(model, prompts, 1, sampling=DRAWN)] == [
        ids.tolist() for ids in together
    ]
    backwards = decode(model, prompts[::-1], sampling=DRAWN)[::-1]
    assert [ids.tolist() for ids in backwards] == [ids.tolist() for ids in together]
    other = decode(model, prompts, sampling=replace(DRAWN, seed=8))
    assert [ids.tolist() for ids in other] != [ids.tolist() for ids in together]


def test_samples_of_a_prompt_differ_and_the_first_is_that_of_one():
    model, prompts = tiny_model("causal"), prompts_of("causal")
    several = generate(decoding_of(model, sampling=replace(DRAWN, samples=3)), prompts)
    one = decode(model, prompts, sampling=DRAWN)
    assert [answer[0].ids.tolist() for answer in several] == [ids.tolist() for ids in one]
    assert all(len(answer) == 3 for answer in several)
    assert len({tuple(own.ids.tolist()) for answer in several for own in answer}) > len(prompts)


@pytest.mark.parametrize("architecture", ["encoder_decoder", "causal"])
def test_log_probabilities_are_those_of_a_whole_pass(architecture):
    model, prompts = tiny_model(architecture), prompts_of(architecture)
    sampling = Sampling(temperature=2.0, repetition_penalty=1.3)
    answers = generate(decoding_of(model, sampling=sampling, scored=True), prompts)
    lengths = Lengths(16, NEW, architecture)
    for prompt, (answer,) in zip(prompts, answers, strict=True):
        new = answer.ids
        pair = example([], [], lengths)._replace(inputs=prompt, targets=new)
        row = pack_row([pair], lengths, 0)
        logits = forward(model, {name: jnp.asarray(x)[None] for name, x in row.items()})
        first = 0 if lengths.two_sided else len(prompt)
        logprobs = jax.nn.log_softmax(logits[0, first : first + len(new)])
        expected = logprobs[np.arange(len(new)), new].sum()
        assert answer.logprob == pytest.approx(float(expected), abs=1e-4)


def test_any_of_several_end_tokens_ends_a_row():
    model, prompts = tiny_model("causal"), prompts_of("causal")
    free = decode(model, prompts, end_ids=(-1, -1))
    ends = (int(free[0][3]), int(free[1][2]))
    for answer, whole in zip(decode(model, prompts, end_ids=ends), free, strict=True):
        first = next((i for i, token in enumerate(whole) if token in ends), NEW - 1)
        assert answer.tolist() == whole[: first + 1].tolist()


def test_repetition_is_penalized_in_prompt_and_text():
    model, prompts = tiny_model("causal"), prompts_of("causal")
    never = Sampling(repetition_penalty=1e6)
    for prompt, answer in zip(prompts, decode(model, prompts, sampling=never), strict=True):
        read = [0, *prompt.tolist(), *answer.tolist()]
        assert not {*answer.tolist()} & {*read[: len(prompt) + 1]}
        assert len({*answer.tolist()}) == len(answer)


def test_a_row_that_the_host_ends_is_cut_there_and_decoded_little_further():
    model, prompts = tiny_model("causal"), prompts_of("causal")
    most = 200
    whole = decode(model, prompts, end_ids=(), max_new_tokens=most)
    seen = []

    def ends(ids):
        seen.append(len(ids))
        return 5 if len(ids) >= 5 else None

    decoding = decoding_of(model, end_ids=(), max_new_tokens=most)
    cut = generate(decoding, prompts, ends=ends)
    assert [own.ids.tolist() for (own,) in cut] == [ids[:5].tolist() for ids in whole]
    assert max(seen) < most // 2


def test_a_stream_grows_to_what_a_batch_gives():
    model, prompts = tiny_model("causal"), prompts_of("causal")
    (expected,) = decode(model, prompts[:1], sampling=DRAWN)
    grown = [own.ids.tolist() for own in stream(decoding_of(model, sampling=DRAWN), prompts[0])]
    assert grown == [expected[:n].tolist() for n in range(1, len(expected) + 1)]


@pytest.mark.multidevice
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_eight_devices_decode_as_one(architecture):
    if len(jax.devices()) < 8:
        pytest.skip("needs 8 devices")
    prompts = prompts_of(architecture)
    single = tiny_model(architecture)
    for sampling in (Sampling(), replace(DRAWN, top_k=20, repetition_penalty=1.2)):
        expected = decode(single, prompts, batch_size=8, sampling=sampling, scored=True)
        with jax.set_mesh(make_mesh(data=2, fsdp=2, tensor=2)):
            answers = decode(spread(single), prompts, batch_size=8, sampling=sampling, scored=True)
        assert [a.tolist() for a in answers] == [e.tolist() for e in expected]


def test_four_heads_over_one_key_head_decode_under_a_mesh_too():
    sizes = dict(vocab_size=32, d_model=16, d_ff=32, num_heads=4, num_kv_heads=1, head_dim=8)
    model = jax.jit(DecoderConfig(**sizes, num_layers=2).init)(jax.random.key(3))
    prompts = prompts_of("causal")
    expected = decode(model, prompts)
    with jax.set_mesh(make_mesh(data=1, devices=jax.devices()[:1])):
        answers = decode(spread(model), prompts)
    assert [a.tolist() for a in answers] == [e.tolist() for e in expected]
