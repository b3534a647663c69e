"""Calibrated fusion: it learns what the evidence is worth, and its probabilities are true."""

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from classify_head.answers import Answers, as_truths
from classify_head.calibration import FALLBACK, CalibratedFusion, fit_calibration
from classify_head.evidence import Evidence
from classify_head.gap import gap
from classify_head.pair_features import DEFAULT_FEATURES, PAIR_FEATURES, make_pairs
from classify_head.promise import LANDMARK, POOL, REMOVED
from classify_head.reliability import expected_calibration_error
from tests.evidence import imagine
from tests.small_evidence import query as query_of


def score(
    evidence: Evidence, truths: NDArray[np.int64], model: CalibratedFusion
) -> tuple[float, float]:
    """Return GAP and expected calibration error."""
    found = model.decide(evidence)
    answers = Answers(found.labels, found.confidences, evidence.query_ids, as_truths(truths))
    return gap(answers), expected_calibration_error(found.labels == truths, found.confidences)


def nearest_gap(evidence: Evidence, truths: NDArray[np.int64]) -> float:
    first = evidence.similarities[:, 0].astype(np.float64)
    return gap(Answers(evidence.labels[:, 0], first, evidence.query_ids, as_truths(truths)))


@pytest.mark.parametrize(("similarity", "geometry"), [(1.0, 1.0), (0.5, 0.0), (0.0, 1.0)])
def test_probabilities_are_true_on_queries_not_fitted_on(
    similarity: float, geometry: float
) -> None:
    known, truths = imagine(500, seed=1, similarity=similarity, geometry=geometry)
    asked, answers = imagine(1500, seed=2, similarity=similarity, geometry=geometry)
    model, _ = fit_calibration(known, truths, distractor_share=0.4)
    _, error = score(asked, answers, model)
    assert error < 0.05


def test_where_geometry_says_nothing_it_costs_nothing() -> None:
    known, truths = imagine(400, seed=1, similarity=0.8, geometry=0.0)
    asked, answers = imagine(1500, seed=2, similarity=0.8, geometry=0.0)
    with_geometry, _ = fit_calibration(known, truths)
    without, _ = fit_calibration(_unverified(known), truths)
    reranked, plain = score(asked, answers, with_geometry)[0], score(asked, answers, without)[0]
    assert reranked > plain - 0.005
    assert reranked > nearest_gap(asked, answers)


def test_where_similarity_says_nothing_geometry_decides() -> None:
    known, truths = imagine(400, seed=1, similarity=0.0, geometry=2.0)
    asked, answers = imagine(500, seed=2, similarity=0.0, geometry=2.0)
    model, _ = fit_calibration(known, truths)
    assert nearest_gap(asked, answers) < 0.1
    assert score(asked, answers, model)[0] > 0.8


def _unverified(evidence: Evidence) -> Evidence:
    return replace(evidence, inliers=np.full_like(evidence.inliers, -1))


def test_no_query_is_answered_by_a_model_that_saw_it() -> None:
    known, truths = imagine(200, seed=3)
    model, before = fit_calibration(known, truths)
    row = int(np.flatnonzero(truths >= 0)[0])
    other = truths.copy()
    other[row] = (truths[row] + 1) % 12
    other_model, after = fit_calibration(known, other)
    assert after.confidences[row] == before.confidences[row]
    assert other_model != model


def ask_again(
    known: Evidence, truths: NDArray[np.int64]
) -> tuple[Evidence, NDArray[np.int64], NDArray[np.str_]]:
    """Append each landmark query once more, without its label; return truths and kinds, too."""
    again = np.flatnonzero(truths >= 0)
    without = known.without(known.labels == truths[:, None]).take(again)
    arrays = {
        name: np.concatenate([array, without.arrays[name]]) for name, array in known.arrays.items()
    }
    both = Evidence((*known.query_ids, *without.query_ids), **arrays)
    kinds = [np.where(truths >= 0, LANDMARK, POOL), np.full(len(again), REMOVED)]
    return both, np.append(truths, np.full(len(again), -1)), np.concatenate(kinds)


def test_no_query_of_a_photo_is_answered_by_a_model_that_saw_another() -> None:
    known, truths = imagine(200, seed=3)
    both, asked, kinds = ask_again(known, truths)
    model, before = fit_calibration(both, asked, kinds)
    row = int(np.flatnonzero(truths >= 0)[7])
    second = len(known) + 7
    assert both.query_ids[row] == both.query_ids[second]
    other = asked.copy()
    other[row] = (truths[row] + 1) % 12
    other_model, after = fit_calibration(both, other, kinds)
    assert after.confidences[second] == before.confidences[second]
    assert other_model != model


def test_landmarks_that_are_asked_as_distractors_make_it_less_sure_of_their_like() -> None:
    """Photos of other things are easily told here, those of other landmarks are not."""
    known, truths = imagine(400, seed=4)
    easy = replace(known, similarities=known.similarities.copy())
    easy.similarities[truths < 0] -= 0.4
    both, asked, kinds = ask_again(easy, truths)
    alone, _ = fit_calibration(easy, truths)
    model, _ = fit_calibration(both, asked, kinds)
    removed = both.take(kinds == REMOVED)
    assert model.decide(removed).confidences.mean() < alone.decide(removed).confidences.mean()


def test_the_same_queries_give_the_same_model() -> None:
    known, truths = imagine(200, seed=3)
    assert fit_calibration(known, truths)[0] == fit_calibration(known, truths)[0]


def test_names_of_labels_do_not_matter() -> None:
    known, truths = imagine(200, seed=3)
    renamed = replace(
        known,
        labels=known.labels + 1000,
        head_labels=known.head_labels + 1000,
    )
    model, _ = fit_calibration(known, truths)
    found, same = model.decide(known), model.decide(renamed)
    assert (same.labels == found.labels + 1000).all()
    np.testing.assert_allclose(same.confidences, found.confidences)


def test_the_more_distractors_are_expected_the_less_sure_it_is() -> None:
    known, truths = imagine(400, seed=4)
    few, _ = fit_calibration(known, truths, distractor_share=0.05)
    many, _ = fit_calibration(known, truths, distractor_share=0.95)
    assert few.decide(known).confidences.mean() > many.decide(known).confidences.mean()


def test_too_few_known_queries_leave_the_weights_of_other_data() -> None:
    known, truths = imagine(12, seed=5)
    model, choice = fit_calibration(known, truths)
    assert model == FALLBACK
    assert not model.fitted
    assert len(choice.labels) == 12


def test_without_distractors_it_fits_all_the_same() -> None:
    known, truths = imagine(100, seed=5, distractor_share=0.0)
    assert fit_calibration(known, truths)[0].fitted


def test_a_database_of_one_label_and_no_distractor_teaches_nothing() -> None:
    known, truths = imagine(100, seed=5, distractor_share=0.0, labels=1)
    assert not fit_calibration(known, truths)[0].fitted


def test_a_query_without_neighbours_has_no_answer() -> None:
    known, truths = imagine(100, seed=6)
    model, _ = fit_calibration(known, truths)
    nothing = known.without(np.ones(known.labels.shape, dtype=np.bool_))
    found = model.decide(nothing)
    assert (found.labels == -1).all()
    assert (found.confidences == 0).all()


def test_a_tie_goes_to_the_lower_label() -> None:
    evidence, _ = imagine(1, neighbors=2)
    tied = replace(
        evidence,
        labels=np.array([[9, 4]]),
        similarities=np.full((1, 2), 0.5, dtype=np.float32),
        inliers=np.full((1, 2), 20),
    )
    assert FALLBACK.decide(tied).labels.tolist() == [4]


def test_a_model_survives_json() -> None:
    known, truths = imagine(200, seed=3)
    model, _ = fit_calibration(known, truths, features=list(PAIR_FEATURES))
    assert CalibratedFusion.from_json(json.loads(json.dumps(model.to_json()))) == model


def test_unknown_features_and_lengths_are_refused() -> None:
    known, truths = imagine(30)
    with pytest.raises(ValueError, match="unknown features"):
        CalibratedFusion(("colour",), (1.0,), 0.0)
    with pytest.raises(ValueError, match="2 weights for 1 features"):
        CalibratedFusion(("pool",), (1.0, 2.0), 0.0)
    with pytest.raises(ValueError, match="29 truths for 30 queries"):
        fit_calibration(known, truths[:-1])


def test_votes_do_not_depend_on_the_unit_of_the_cosines() -> None:
    """Whitened descriptors of one thing have .3 where plain ones have .9."""
    evidence, _ = imagine(20, seed=7)
    quarter = (evidence.similarities / 4).astype(np.float32)
    smaller = replace(evidence, similarities=quarter)
    plain, scaled = (make_pairs(of, ["vote_lead"]).values for of in (evidence, smaller))
    np.testing.assert_allclose(scaled, plain, rtol=1e-5)


def test_pairs_hold_what_a_slow_reading_of_the_evidence_finds() -> None:
    evidence, _ = imagine(20, seed=7)
    pairs = make_pairs(evidence, list(PAIR_FEATURES))
    column = {name: place for place, name in enumerate(PAIR_FEATURES)}
    for query, label, values in zip(pairs.queries, pairs.labels, pairs.values, strict=True):
        mine = evidence.labels[query] == label
        cosines = np.where(mine, evidence.similarities[query], -1)
        rivals = np.where(mine, -1, evidence.similarities[query])
        excess = np.maximum(evidence.inliers[query] - 4, 0)
        largest = evidence.similarities[query].max()
        votes = np.sort(cosines[mine] / largest)[::-1][:5].astype(np.float64) ** 8
        expected = {
            "similarity": cosines.max(),
            "similarity_lead": cosines.max() - rivals.max(),
            "votes": votes.sum() ** 0.5,
            "inliers": np.log1p(excess[mine].sum()),
            "most_inliers": np.log1p(excess[mine].max()),
            "mean_inliers": np.log1p(excess[mine].mean()),
            "inlier_share": excess[mine].sum() / (excess.sum() + 10),
            "pool": evidence.query_pool[query][:5].mean(),
            "class_size": np.log(8),
        }
        for name, value in expected.items():
            assert values[column[name]] == pytest.approx(value, abs=1e-6), name
    assert set(DEFAULT_FEATURES) <= set(PAIR_FEATURES)


def test_a_single_label_leads_over_nothing() -> None:
    evidence, _ = imagine(3, labels=1)
    values = make_pairs(evidence, ["similarity_lead", "similarity"]).values
    np.testing.assert_allclose(values[:, 0], values[:, 1])


def test_neighbours_that_are_dropped_leave_no_trace() -> None:
    evidence, _ = imagine(40, seed=8)
    shown = evidence.without(evidence.labels == 3)
    assert not (shown.labels == 3).any()
    assert ((shown.labels >= 0).sum(axis=1) == (evidence.labels != 3).sum(axis=1)).all()
    assert (np.diff(shown.similarities, axis=1) <= 0).all()
    assert (shown.inliers[shown.labels < 0] == -1).all()
    assert not (make_pairs(shown, ["pool"]).labels == 3).any()


def test_evidence_of_other_shapes_is_refused() -> None:
    evidence, _ = imagine(3)
    with pytest.raises(ValueError, match=r"inliers is int64 \(3, 5\), expected int64 \(3, 30\)"):
        replace(evidence, inliers=evidence.inliers[:, :5])
    with pytest.raises(ValueError, match="2 query ids"):
        replace(evidence, query_ids=("a", "b"))


def test_taking_rows_keeps_what_belongs_together() -> None:
    evidence, _ = imagine(10)
    some = evidence.take([7, 2])
    assert some.query_ids == ("q00007", "q00002")
    assert (some.labels == evidence.labels[[7, 2]]).all()
    assert len(evidence.take(slice(0, 0))) == 0


def test_labels_are_ranked_by_how_likely_each_is() -> None:
    evidence, _ = imagine(60, seed=4)
    ranked, best = FALLBACK.rank(evidence), FALLBACK.decide(evidence)
    for query, found in enumerate(ranked):
        probabilities = [probability for _, probability in found]
        assert found[0] == (best.labels[query], best.confidences[query])
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) <= 1 + 1e-9
        assert len({label for label, _ in found}) == len(found)
    nothing = query_of([], [], padding=2)
    assert FALLBACK.rank(nothing) == [[]]
