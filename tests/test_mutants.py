"""The laws catch what they are for: every mutant is found by the law it names, in three base memories."""

import pytest
from mutants import (
    BASES,
    MUTANTS,
    SOUND,
    calls,
    circumstances,
    devices,
    gradients,
    numerics,
    segments,
    states,
    values,
)

from membench.check import examine_law
from membench.laws import HARNESS_LAWS, LAWS, LawBroken
from membench.laws.comparing import ERROR
from membench.laws.surroundings import kept_surroundings

NAMED = {
    values.PeeksOneStepAhead,
    values.LeaksBetweenRows,
    calls.MutatesState,
    segments.CacheKeepsOneStepTooFew,
    segments.WindowDiffersInStep,
    segments.DropsInitialState,
    circumstances.DropoutLeftOnWhenActing,
    segments.PositionStandsStill,
    gradients.DetachedState,
    devices.TensorOnTheCPU,
    numerics.NotFiniteUnderBfloat16,
    states.GrowingState,
    values.BatchNorm,
    circumstances.NoiseInForward,
    segments.ForgetGateTwice,
}
"""The faults that the laws were written for first."""

RAISE = {values.LargeBatchesFail, gradients.CacheWrittenWhileRecording}
"""Mutants that are found by the error that they raise."""


def test_the_faults_that_every_check_must_find_are_planted():
    assert len(NAMED) == 15
    assert set(MUTANTS) >= NAMED


@pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch says of some faults what it thinks of them
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_found(mutant, base):
    with kept_surroundings(), pytest.raises(LawBroken, match="Usually: ") as found:
        LAWS[MUTANTS[mutant]](lambda: mutant(base))
    # By what the law is about, not by an accident of the planting.
    assert (found.value.usually == ERROR) == (mutant in RAISE)


@pytest.mark.parametrize(("memory", "base"), [(memory, base) for memory in SOUND for base in SOUND[memory]])
def test_what_mutants_are_made_of_is_sound(memory, base):
    results = [examine_law(name, law, lambda: memory(base)) for name, law in (LAWS | HARNESS_LAWS).items()]
    assert [result for result in results if not result.passed] == []


@pytest.mark.parametrize(
    ("mutant", "law"),
    [
        (circumstances.OtherWhenRecording, "first minibatch"),
        (values.LeaksAmongRowsOfOneAge, "independent episodes"),
        (values.LeaksAmongRowsOfOneAge, "padded rows"),
        (numerics.RootOfNothing, "padding is silent"),
        (segments.OtherStep, "open loop equals stepping"),
    ],
)
def test_a_law_of_the_harness_finds_faults_of_a_memory(mutant, law):
    with pytest.raises(LawBroken, match="Usually: "):
        HARNESS_LAWS[law](lambda: mutant("gru"))
