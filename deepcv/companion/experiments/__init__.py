"""The registry of experiments, in the paper's order: one self-contained module for each table and figure.

The command line, `deepcv record`, the verdict and the tests read `EXPERIMENTS`; one of the tests compares it with the
book's contents.
"""

from __future__ import annotations

from deepcv.checks import check_known
from deepcv.companion.experiments import (
    algorithm2,
    choices,
    confidence,
    domains,
    epochs,
    figure01,
    figure03,
    figure04,
    figure05,
    figure06,
    figure07,
    figure08,
    figure09,
    figure10a,
    figure10b,
    hints,
    hypotheses,
    interaction,
    ladder,
    playground,
    readings,
    table1,
    table2,
    table3,
    theory,
)
from deepcv.companion.experiments.experiment import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    module.EXPERIMENT.name: module.EXPERIMENT
    for module in (
        figure01,
        theory,
        choices,
        table1,
        domains,
        interaction,
        confidence,
        hints,
        hypotheses,
        readings,
        ladder,
        figure03,
        figure04,
        algorithm2,
        table2,
        figure05,
        table3,
        epochs,
        figure06,
        figure08,
        figure07,
        figure09,
        figure10a,
        figure10b,
        playground,
    )
}


def get_experiment(name: str) -> Experiment:
    """The experiment of that name.

    Raises
    ------
    InputError
        When there is none.
    """
    check_known("experiment", name, EXPERIMENTS)
    return EXPERIMENTS[name]
