"""T5's decoder begins with 0, as it was trained, whatever `<s>` the vocabulary has."""

import numpy as np
import pytest

from flanmix.data.packing import pack_row
from flanmix.data.tokens import Lengths
from flanmix.data.vocabulary import load_vocabulary
from flanmix.evaluate.decode import Decoding, generate
from flanmix.evaluate.rank import rank
from tests.conftest import ROOT
from tests.evaluate.models import example, random_ids, tiny_model

VOCABULARY = ROOT.parent / "shared" / "data" / "tokenizers" / "cc_all.32000.100extra.model"
BOS = 2


@pytest.mark.parametrize(("architecture", "start"), [("encoder_decoder", 0), ("causal", BOS)])
def test_packed_rows_ranking_and_generation_begin_alike(architecture, start):
    model, lengths = tiny_model(architecture), Lengths(24, 12, architecture)
    rng = np.random.default_rng(0)
    prompts = [np.asarray(random_ids(rng, 3, 9), np.int32) for _ in range(3)]
    question = tuple(example(prompts[0], random_ids(rng, 2, 5), lengths) for _ in range(3))

    def measured(start_id):
        row = pack_row(question[:2], lengths, start_id)
        (scores,) = rank(model, [question], lengths=lengths, batch_size=1, start_id=start_id)
        new = dict(max_length=24, max_new_tokens=4, batch_size=2, end_ids=(1,), start_id=start_id)
        answers = generate(Decoding(model, **new), prompts)
        return row["decoder_input_tokens"], scores.sums, [answer[0].ids for answer in answers]

    (tokens, sums, answers), (plain_tokens, plain_sums, plain_answers) = measured(BOS), measured(0)
    assert tokens[0] == start
    if architecture == "encoder_decoder":
        assert tokens.tolist() == plain_tokens.tolist()
        assert np.allclose(sums, plain_sums)
        assert [a.tolist() for a in answers] == [a.tolist() for a in plain_answers]
    else:
        assert not np.allclose(sums, plain_sums)


@pytest.mark.parametrize(("architecture", "start"), [("encoder_decoder", 0), ("prefix", BOS)])
def test_a_real_vocabulary_whose_bos_is_2(architecture, start):
    if not VOCABULARY.is_file():
        pytest.skip(f"needs {VOCABULARY.name} in ../shared/data/tokenizers")
    vocabulary, lengths = load_vocabulary(str(VOCABULARY)), Lengths(16, 8, architecture)
    assert vocabulary.start_id == BOS
    ids = vocabulary.encode_batch(["Is it wet?", "yes"])
    row = pack_row([example(*ids, lengths)] * 2, Lengths(32, 16, architecture), vocabulary.start_id)
    first = np.flatnonzero(np.diff(row["decoder_segment_ids"], prepend=0) > 0)
    assert row["decoder_input_tokens"][first].tolist() == [start, start]
