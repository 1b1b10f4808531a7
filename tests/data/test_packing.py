"""Packing: nothing lost, nothing crosses, rows full, loss on targets alone."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanmix.data.packing import POOL, choose_row, pack_row
from flanmix.data.render import Span, TextExample
from flanmix.data.separator import separator_ids
from flanmix.data.tokens import Example, Lengths, token_budget, tokenize
from flanmix.data.vocabulary import ByteVocabulary, load_vocabulary
from tests.data.tokenizers import sentencepiece_model
from tests.data.unpacking import unpack

ARCHITECTURES = ("encoder_decoder", "causal", "prefix")


@st.composite
def examples(draw):
    """An example of random ids that ends with EOS (1)."""
    ids = st.integers(2, 500)
    inputs = draw(st.lists(ids, max_size=12))
    targets = [*draw(st.lists(ids, max_size=5)), 1]
    return Example(
        np.array(inputs, np.int32),
        np.array(targets, np.int32),
        np.full(len(targets), draw(st.sampled_from([1.0, 0.5, 2.25])), np.float32),
        draw(st.integers(0, 2000)),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.integers(0, 3)),
    )


def pack_all(pending, lengths, start_id=0):
    rows, chosen = [], []
    while pending:
        has_start = start_id is not None
        sizes = np.array([example.size(lengths.two_sided, has_start) for example in pending])
        indices = choose_row(sizes, lengths.row_capacity)
        assert indices[0] == 0
        chosen.append([pending[index] for index in indices])
        rows.append(pack_row(chosen[-1], lengths, start_id))
        pending = [example for i, example in enumerate(pending) if i not in indices]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}, chosen


def learnt(example):
    """What a row without start tokens holds of an example: its first token is only read."""
    if len(example.inputs):
        return example
    if len(example.targets) == 1:
        return None
    inputs, targets, weights = example.targets[:1], example.targets[1:], example.weights[1:]
    return example._replace(inputs=inputs, targets=targets, weights=weights)


def same(left, right):
    return (
        np.array_equal(left.inputs, right.inputs)
        and np.array_equal(left.targets, right.targets)
        and np.array_equal(left.weights, right.weights)
        and left.task == right.task
    )


@given(
    st.sampled_from(ARCHITECTURES),
    st.lists(examples(), min_size=1, max_size=30),
    st.sampled_from([None, 0, 3]),
)
@settings(deadline=None)
def test_unpacking_gives_back_what_was_packed(architecture, pending, start_id):
    lengths = Lengths(24, 10, architecture)
    headless = start_id is None and not lengths.two_sided
    batch, rows = pack_all(pending, lengths, start_id)
    assert sum(len(row) for row in rows) == len(pending)
    back = unpack(batch, lengths, start_id)
    rows = [[e for e in map(learnt, row) if e] for row in rows] if headless else rows
    for packed, unpacked in zip(rows, back, strict=True):
        assert len(packed) == len(unpacked)
        assert all(same(a, b) for a, b in zip(packed, unpacked, strict=True))
    stats = batch["row_stats"].sum(axis=0)
    assert stats[0] == len(pending)
    assert stats[1] == sum(example.inputs_truncated for example in pending)
    assert stats[2] == sum(example.targets_truncated for example in pending)
    assert stats[3] == sum(example.unknown for example in pending)


@given(st.sampled_from(ARCHITECTURES), st.lists(examples(), min_size=1, max_size=30))
@settings(deadline=None)
def test_weights_are_on_the_targets_alone(architecture, pending):
    lengths = Lengths(24, 10, architecture)
    batch, _ = pack_all(pending, lengths)
    expected = sum(example.weights.sum(dtype=np.float64) for example in pending)
    assert batch["decoder_loss_weights"].sum(dtype=np.float64) == expected
    bearing = batch["decoder_loss_weights"] > 0
    assert bearing.sum() == sum(len(example.targets) for example in pending)
    assert not bearing[batch["decoder_segment_ids"] == 0].any()
    written = sorted(batch["decoder_target_tokens"][bearing].tolist())
    assert written == sorted(np.concatenate([e.targets for e in pending]).tolist())


@given(st.sampled_from(["causal", "prefix"]), st.lists(examples(), min_size=1, max_size=30))
@settings(deadline=None)
def test_without_a_start_every_target_but_a_first_token_bears_loss(architecture, pending):
    lengths = Lengths(24, 10, architecture)
    batch, _ = pack_all(pending, lengths, None)
    kept = [e.weights if len(e.inputs) else e.weights[1:] for e in pending]
    expected = sum(weights.sum(dtype=np.float64) for weights in kept)
    assert batch["decoder_loss_weights"].sum(dtype=np.float64) == expected
    assert (batch["decoder_loss_weights"] > 0).sum() == sum(map(len, kept))
    # A segment is one shorter than its tokens, so that a row of n tokens' room holds n + 1.
    used = (batch["decoder_segment_ids"] > 0).sum()
    assert used == sum(len(e.inputs) + len(e.targets) - 1 for e in pending)


@given(
    st.sampled_from(ARCHITECTURES),
    st.lists(examples(), min_size=1, max_size=30),
    st.sampled_from([None, 0, 7]),
)
@settings(deadline=None)
def test_segments_are_kept_apart(architecture, pending, start_id):
    lengths = Lengths(24, 10, architecture)
    batch, _ = pack_all(pending, lengths, start_id)
    sides = ["decoder"] + ["encoder"] * lengths.two_sided
    for side in sides:
        for segments, positions in zip(
            batch[f"{side}_segment_ids"], batch[f"{side}_positions"], strict=True
        ):
            used = int((segments > 0).sum())
            assert (segments[used:] == 0).all() and (positions[used:] == 0).all()
            # A segment id per example, in order, none empty; positions count from 0 in each.
            for number in range(1, segments.max() + 1):
                (here,) = np.nonzero(segments == number)
                if (side == "decoder" and start_id is not None) or here.size:
                    assert here.tolist() == list(range(here[0], here[-1] + 1))
                    assert positions[here].tolist() == list(range(here.size))
    for shifted, tokens, segments in zip(
        batch["decoder_input_tokens"],
        batch["decoder_target_tokens"],
        batch["decoder_segment_ids"],
        strict=True,
    ):
        for number in range(1, segments.max() + 1):
            here = segments == number
            start = 0 if lengths.two_sided else start_id
            read, predicted = shifted[here].tolist(), tokens[here].tolist()
            assert read[1:] == predicted[:-1]
            assert start is None or not read or read[0] == start
        assert (shifted[segments == 0] == 0).all()


@given(st.lists(examples(), min_size=1, max_size=30), st.sampled_from([None, 3]))
@settings(deadline=None)
def test_the_prefix_is_the_start_and_the_inputs(pending, start_id):
    lengths = Lengths(24, 10, "prefix")
    batch, rows = pack_all(pending, lengths, start_id)
    for number, row in enumerate(rows):
        expected = []
        for example in row:
            expected += [1] * (len(example.inputs) + (start_id is not None)) + [0] * (
                len(example.targets) - 1
            )
        prefix = batch["decoder_prefix"][number]
        assert prefix[: len(expected)].tolist() == expected
        assert (prefix[len(expected) :] == 0).all()
    # No token of the prefix bears loss as a token that is read: what is read is known.
    assert (batch["decoder_loss_weights"][:, 1:][batch["decoder_prefix"][:, 1:] == 0] >= 0).all()


def test_shapes_and_types():
    ones = np.ones(2, np.float32)
    example = Example(np.array([5, 1], np.int32), np.array([6, 1], np.int32), ones)
    row = pack_row([example], Lengths(8, 4), None)
    assert set(row) == {
        "encoder_input_tokens",
        "encoder_segment_ids",
        "encoder_positions",
        "decoder_input_tokens",
        "decoder_target_tokens",
        "decoder_segment_ids",
        "decoder_positions",
        "decoder_task_ids",
        "decoder_loss_weights",
        "row_stats",
    }
    for name, values in row.items():
        length = 4 if name == "row_stats" else 8 if name.startswith("encoder") else 4
        assert values.shape == (length,)
        assert values.dtype == (np.float32 if name == "decoder_loss_weights" else np.int32)
    assert row["decoder_input_tokens"].tolist() == [0, 6, 0, 0]
    causal = pack_row([example], Lengths(8, 4, "causal"), 0)
    assert all(v.shape == (12,) for k, v in causal.items() if k != "row_stats")
    assert "decoder_prefix" not in causal
    assert not [name for name in causal if name.startswith("encoder")]


def _stream_fill(draw, lengths, num_rows=300):
    """Fill of both sides when rows are packed from a pool, as a stream does."""
    pool = np.zeros((0, 2), np.int64)
    filled = np.zeros(2)
    for _ in range(num_rows):
        pool = np.concatenate([pool, draw(POOL - len(pool))])
        indices = choose_row(pool, lengths.row_capacity)
        filled += pool[indices].sum(axis=0)
        assert (pool[indices].sum(axis=0) <= lengths.row_capacity).all()
        pool = np.delete(pool, indices, axis=0)
    return filled / num_rows / np.maximum(lengths.row_capacity, 1)


def test_rows_are_full_when_lengths_fit_the_mixture():
    rng = np.random.default_rng(0)
    # Mean about 64 and 8, independent and skewed, so rows of 512 and 64 fit the mixture.
    inputs = np.clip(np.rint(rng.lognormal(4.03, 0.5, 40_000)), 4, 512).astype(np.int64)
    targets = np.clip(np.rint(rng.lognormal(1.75, 0.8, 40_000)), 2, 60).astype(np.int64)
    ratio = inputs.mean() / targets.mean()
    supply = iter(np.stack([inputs, targets], axis=1))
    lengths = Lengths(512, round(512 / ratio))
    fill = _stream_fill(lambda n: np.array([next(supply) for _ in range(n)]), lengths)
    assert fill.min() > 0.9
    sums = (row.sum() for row in supply)
    one_side = _stream_fill(
        lambda n: np.array([[next(sums), 0] for _ in range(n)]), Lengths(448, 64, "causal")
    )
    assert one_side[0] > 0.97


def test_the_oldest_is_never_left_behind():
    sizes = np.array([[9, 1], *[[1, 1]] * 8])
    assert choose_row(sizes, (10, 4)) == [0, 1]


# --- tokens -------------------------------------------------------------------------------------


@given(st.sampled_from(ARCHITECTURES), st.text(max_size=40), st.text(max_size=30))
@settings(deadline=None)
def test_tokens_fit_and_end_with_eos(architecture, inputs, targets):
    vocabulary, lengths = ByteVocabulary(), Lengths(16, 8, architecture)
    pair = TextExample.of_pair(inputs, targets)
    (example,) = tokenize([pair], [5], [0.5], vocabulary, lengths)
    assert (np.array(example.size(lengths.two_sided)) <= lengths.row_capacity).all()
    whole, wanted = vocabulary.encode(inputs), vocabulary.encode(targets)
    got = example.targets.tolist()
    assert got[-1] == 1
    assert got[:-1] == wanted[: len(got) - 1]
    assert example.targets_truncated == (len(got) - 1 < len(wanted))
    read = example.inputs.tolist()
    if lengths.two_sided:
        assert read.pop() == 1
    assert read == whole[: len(read)]
    assert example.inputs_truncated == (len(read) < len(whole))
    if wanted:
        assert len(got) > 1
    assert (example.task, example.weights.tolist()) == (5, [0.5] * len(got))
    if len(wanted) < lengths.targets:
        assert not example.targets_truncated


@given(
    st.sampled_from(["causal", "prefix"]),
    st.text(max_size=40),
    st.text(max_size=30),
    st.sampled_from(["\n", " => "]),
)
@settings(deadline=None)
def test_the_separator_stands_behind_what_is_left_of_the_inputs(
    architecture, inputs, targets, separator
):
    vocabulary, lengths = ByteVocabulary(), Lengths(16, 8, architecture, separator)
    (example,) = tokenize([TextExample.of_pair(inputs, targets)], [0], [1.0], vocabulary, lengths)
    assert (np.array(example.size(False)) <= lengths.row_capacity).all()
    between = vocabulary.encode(separator) if inputs else []
    read, whole = example.inputs.tolist(), vocabulary.encode(inputs)
    kept = len(read) - len(between)
    assert read == whole[:kept] + between
    assert example.inputs_truncated == (kept < len(whole))
    assert len(read) >= min(len(whole) + len(between), lengths.inputs)
    wanted = vocabulary.encode(targets)
    assert example.targets.tolist() == [*wanted[: len(example.targets) - 1], 1]
    assert len(example.weights) == len(example.targets)
    row = pack_row([example], lengths, None)
    assert row["decoder_loss_weights"].sum() == len(example.targets) - (not inputs)
    if architecture == "prefix":
        assert row["decoder_prefix"].sum() == len(read)


def test_an_encoder_decoder_has_no_separator():
    with pytest.raises(ValueError, match="SEPARATOR is ' ': an encoder-decoder has"):
        Lengths(8, 8, separator=" ")


def test_a_separator_has_no_space_of_its_own(tmp_path):
    """SentencePiece begins every text with one; between two texts there is none."""
    path = sentencepiece_model(tmp_path / "m.model", byte_fallback=True, vocab_size=276)
    vocabulary = load_vocabulary(str(path))
    assert vocabulary.pieces(separator_ids(vocabulary, "|")) == ["<0x7C>"]
    assert vocabulary.pieces(vocabulary.encode("|"))[0] == "▁"
    assert len(separator_ids(vocabulary, "")) == 0


@pytest.mark.parametrize(
    ("num_inputs", "num_targets", "expected"),
    [(5, 5, (18, 19)), (30, 5, (18, 8)), (30, 30, (16, 8)), (5, 30, (16, 19)), (17, 6, (17, 8))],
)
def test_each_side_may_use_what_the_other_leaves(num_inputs, num_targets, expected):
    assert token_budget(num_inputs, num_targets, Lengths(16, 8, "causal")) == expected


# --- several turns ------------------------------------------------------------------------------

SPANS = st.lists(
    st.builds(Span, st.text("abcdefgh é", max_size=6), st.booleans()), min_size=1, max_size=7
).filter(lambda spans: any(span.has_loss for span in spans))
WEIGHTS = st.sampled_from([1.0, 0.5, 3.0])


def turns(spans, weight=1.0):
    return TextExample(tuple(spans), "t", 0, "r", weight=weight)


def by_token(spans, two_sided):
    """(inputs, targets, which targets have loss), token by token, where nothing is too long."""
    spelled = [(ByteVocabulary().encode(span.text), span.has_loss) for span in spans]
    if not any(ids and has_loss for ids, has_loss in spelled):
        spelled = spelled[: [has_loss for _, has_loss in spelled].index(True)]
    ids = [number for some, _ in spelled for number in some]
    losses = [has_loss for some, has_loss in spelled for _ in some]
    while losses and any(losses) and not losses[-1]:
        losses.pop()
    ids = ids[: len(losses)]
    first = losses.index(True) if any(losses) else len(losses)
    if two_sided:
        first = len(losses)
        while first and losses[first - 1]:
            first -= 1
    return ids[:first], ids[first:], losses[first:]


@given(st.sampled_from(ARCHITECTURES), st.lists(st.tuples(SPANS, WEIGHTS), min_size=1, max_size=9))
def test_several_turns_have_loss_on_their_own_spans_and_eos(architecture, drawn):
    """Through tokens and packing, and back: packed = unpacked."""
    vocabulary, lengths = ByteVocabulary(), Lengths(80, 60, architecture)
    texts = [turns(spans, weight) for spans, weight in drawn]
    pending = tokenize(texts, range(len(texts)), [2.0] * len(texts), vocabulary, lengths)
    batch, rows = pack_all(pending, lengths)
    back = [example for row in unpack(batch, lengths) for example in row]
    assert len(back) == len(pending)
    for example, packed in zip(back, (e for row in rows for e in row), strict=True):
        assert same(example, packed)
        spans, weight = drawn[example.task]
        inputs, targets, losses = by_token(spans, lengths.two_sided)
        assert example.inputs.tolist() == inputs + [1] * lengths.two_sided
        assert example.targets.tolist() == [*targets, 1]
        assert example.weights.tolist() == [2 * weight * loss for loss in [*losses, True]]
    expected = sum(example.weights.sum(dtype=np.float64) for example in pending)
    assert batch["decoder_loss_weights"].sum(dtype=np.float64) == expected


@given(st.sampled_from(["causal", "prefix"]), SPANS)
def test_a_separator_stands_before_every_turn_that_is_learnt(architecture, spans):
    """Between a span without loss and one with loss, and nowhere else; it has none itself."""
    vocabulary, lengths = ByteVocabulary(), Lengths(90, 60, architecture, "|")
    (example,) = tokenize([turns(spans)], [0], [1.0], vocabulary, lengths)
    spoken = [span for span in spans if span.text]
    joined = list(spoken[:1])
    for before, span in itertools.pairwise(spoken):
        if span.has_loss and not before.has_loss:
            joined.append(Span("|", False))
        joined.append(span)
    if not any(span.has_loss for span in spoken):  # to be written is EOS alone
        first = [span.has_loss for span in spans].index(True)
        before = [span for span in spans[:first] if span.text]
        joined = [*before, Span("|", False)] if before else []
    ids = [number for span in joined for number in vocabulary.encode(span.text)]
    losses = [span.has_loss for span in joined for _ in vocabulary.encode(span.text)]
    kept = len(losses) - losses[::-1].index(True) if any(losses) else len(losses)
    assert [*example.inputs, *example.targets] == [*ids[:kept], 1]
    weights = [0.0] * len(example.inputs) + example.weights.tolist()
    assert weights == [float(loss) for loss in losses[:kept]] + [1.0]


@given(st.sampled_from(ARCHITECTURES), SPANS)
def test_several_turns_that_are_too_long_keep_their_beginnings(architecture, spans):
    vocabulary, lengths = ByteVocabulary(), Lengths(8, 5, architecture)
    (example,) = tokenize([turns(spans)], [0], [1.0], vocabulary, lengths)
    inputs, targets, losses = by_token(spans, lengths.two_sided)
    assert (np.array(example.size(lengths.two_sided)) <= lengths.row_capacity).all()
    kept = len(example.targets) - 1
    assert example.targets.tolist() == [*targets[:kept], 1]
    assert kept or not targets
    assert example.targets_truncated == (kept < len(targets))
    *weights, last = example.weights.tolist()
    assert weights == losses[:kept]
    assert last == (losses[kept - 1] if kept else 1)
    read = example.inputs.tolist()[: -1 if lengths.two_sided else None]
    assert read == inputs[: len(read)]
    assert example.inputs_truncated == (len(read) < len(inputs))


@given(st.text(max_size=8), st.text(max_size=8))
def test_the_sides_of_a_text(inputs, targets):
    pair = TextExample.of_pair(inputs, targets)
    assert (pair.inputs, pair.targets) == (inputs, targets)
    more = turns([Span("a", False), *pair.spans, Span("b", False), Span("c", True)])
    assert (more.inputs, more.targets) == ("a" + inputs, targets + "bc")
    with pytest.raises(ValueError, match="no span has loss"):
        turns([Span(inputs, False)])


def test_unknown_tokens_are_counted():
    class Odd(ByteVocabulary):
        def encode_batch(self, texts):
            return [np.where(ids == 3 + ord("?"), 2, ids) for ids in super().encode_batch(texts)]

    pair = TextExample.of_pair("a?b?", "?")
    (example,) = tokenize([pair], [0], [1.0], Odd(), Lengths(16, 8))
    assert example.unknown == 3


def test_bad_lengths_are_refused():
    with pytest.raises(ValueError, match="targets_length is 1"):
        Lengths(8, 1)
    with pytest.raises(ValueError, match="architecture is 'rnn'"):
        Lengths(8, 8, "rnn")
