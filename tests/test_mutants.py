"""The laws catch what they are for: every mutant is found by the law it names, in three base memories."""

import mutants
import pytest
from mutants import BASES, MUTANTS, SOUND

from membench.check import examine_law
from membench.laws import HARNESS_LAWS, LAWS, LawBroken
from membench.laws.comparing import ERROR
from membench.laws.surroundings import kept_surroundings

NAMED = {
    mutants.values.PeeksOneStepAhead,
    mutants.values.LeaksBetweenRows,
    mutants.calls.MutatesState,
    mutants.segments.CacheKeepsOneStepTooFew,
    mutants.segments.WindowDiffersInStep,
    mutants.segments.DropsInitialState,
    mutants.circumstances.DropoutLeftOnWhenActing,
    mutants.segments.PositionStandsStill,
    mutants.gradients.DetachedState,
    mutants.devices.TensorOnTheCPU,
    mutants.numerics.NotFiniteUnderBfloat16,
    mutants.states.GrowingState,
    mutants.values.BatchNorm,
    mutants.circumstances.NoiseInForward,
    mutants.segments.ForgetGateTwice,
}
"""The faults that the laws were written for first."""

RAISE = {mutants.values.LargeBatchesFail, mutants.gradients.CacheWrittenWhileRecording}
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


@pytest.mark.parametrize(
    ("mutant", "cure"),
    [
        (mutants.states.PairIsATuple, "a dict instead of a list or tuple"),
        (mutants.states.CounterIsANumber, r"a tensor \[b\] instead of a counter"),
        (mutants.states.LearnedHidden, "a learned start belongs under another key"),
    ],
)
def test_where_the_contract_is_not_kept_its_cure_is_told(mutant, cure):
    with pytest.raises(LawBroken, match=cure):
        LAWS["state shape"](lambda: mutant("gru"))


@pytest.mark.parametrize(("memory", "base"), [(memory, base) for memory in SOUND for base in SOUND[memory]])
def test_what_mutants_are_made_of_is_sound(memory, base):
    results = [examine_law(name, law, lambda: memory(base)) for name, law in (LAWS | HARNESS_LAWS).items()]
    assert [result for result in results if not result.passed] == []


@pytest.mark.parametrize(
    ("mutant", "law"),
    [
        (mutants.circumstances.OtherWhenRecording, "first minibatch"),
        (mutants.values.LeaksAmongRowsOfOneAge, "independent episodes"),
        (mutants.values.LeaksAmongRowsOfOneAge, "padded rows"),
        (mutants.numerics.RootOfNothing, "padding is silent"),
        (mutants.segments.OtherStep, "open loop equals stepping"),
    ],
)
def test_a_law_of_the_harness_finds_faults_of_a_memory(mutant, law):
    with pytest.raises(LawBroken, match="Usually: "):
        HARNESS_LAWS[law](lambda: mutant("gru"))
