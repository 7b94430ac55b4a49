"""The table of benchmarks/accuracy.py, from its finished runs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from tools.report import markdown

Run = dict[str, Any]
HEAD = (
    "network", "million parameters", "learning rate", "items/s", "epochs", "validation, seed 0",
    "test: mean ± deviation", "lowest to highest", "runs",
)  # fmt: skip
TITLES = {"images": "Images", "clouds": "Clouds"}


def best(search: Sequence[Run]) -> Run:
    """Return the run with the highest validation accuracy, of equals that with the lowest learning rate."""
    return max(sorted(search, key=_lr), key=lambda run: run["val"])


def chosen_runs(runs: Sequence[Run], network: str, lrs: Sequence[float], seeds: int) -> list[Run]:
    """Return the runs of a network that count, by seed; none before its search is finished.

    Args:
        runs: finished runs of the same settings.
        network: name of the network.
        lrs: the learning rates of its search.
        seeds: how many seeds count.
    """
    own = [run for run in runs if run["network"] == network and run["lr"] in lrs]
    search = [run for run in own if run["seed"] == 0]
    if len(search) < len(lrs):
        return []
    lr = best(search)["lr"]
    return sorted((run for run in own if run["lr"] == lr and run["seed"] < seeds), key=lambda run: run["seed"])


def row(network: str, chosen: Sequence[Run], lrs: Sequence[float]) -> tuple[str, ...]:
    """Cells of a network."""
    tests = [run["test"] for run in chosen]
    spread = f" ± {statistics.stdev(tests):.2f}" if len(tests) > 1 else ""
    return (
        network,
        f"{chosen[0]['parameters'] / 1e6:.2f}",
        f"{chosen[0]['lr']:g} of {', '.join(f'{lr:g}' for lr in lrs)}",
        f"{statistics.mean(run['rate'] for run in chosen):.0f}",
        f"{statistics.mean(run['epochs'] for run in chosen):.1f}",
        f"{chosen[0]['val']:.2f} %",
        f"{statistics.mean(tests):.2f}{spread} %",
        f"{min(tests):.2f} to {max(tests):.2f} %",
        str(len(tests)),
    )


def tables(runs: Sequence[Run], columns: Mapping[str, Mapping[str, Sequence[float]]], seeds: int) -> list[str]:
    """Lines of all tables.

    Args:
        runs: finished runs of the same settings.
        columns: learning rates of the search of each network of each column.
        seeds: how many seeds count.
    """
    lines: list[str] = []
    for column, networks in columns.items():
        chosen = {name: chosen_runs(runs, name, lrs, seeds) for name, lrs in networks.items()}
        rows = [row(name, chosen[name], lrs) for name, lrs in networks.items() if chosen[name]]
        if rows:
            lines += [f"## {TITLES[column]}", "", *markdown(HEAD, rows), *_remarks(runs, networks), ""]
    return lines


def _remarks(runs: Sequence[Run], networks: Mapping[str, Sequence[float]]) -> list[str]:
    """Say which runs failed, and what the search found."""
    lines = []
    for name, lrs in networks.items():
        search = sorted((r for r in runs if r["network"] == name and r["seed"] == 0 and r["lr"] in lrs), key=_lr)
        said = ", ".join(f"{run['lr']:g}: {_outcome(run)}" for run in search)
        lines += [f"- {name}, validation by learning rate: {said}"] if search else []
    return ["", *lines]


def _outcome(run: Run) -> str:
    return run["error"] if "error" in run else f"{run['val']:.2f} %"


def _lr(run: Run) -> float:
    return run["lr"]


def report(results: dict[str, Any]) -> str:
    """Markdown of all results: what was run where, then the tables."""
    machine = results["machine"]
    lines = [
        "# Accuracy on small real data in equal time",
        "",
        f"Command: `{results['command']}`, {results['date']}.",
        "",
    ]
    lines += [f"- {name}: {value}" for name, value in machine.items()]
    lines += [
        f"- commits of the runs: {', '.join(results['commits'])}",
        f"- time of training of a run: {results['minutes']:g} minutes ({results['clock']} clock), "
        f"{results['threads']} threads; clouds of {results['points']} points",
        "",
        "Every network has the best of three learning rates, by the validation part and seed 0. Means and standard "
        "deviations are over seeds; the test set chose nothing. How it is done: the head of benchmarks/accuracy.py.",
        "",
    ]
    return "\n".join([*lines, *results["tables"]]).rstrip() + "\n"
