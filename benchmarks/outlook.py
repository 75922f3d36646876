"""Time of one fit of the index, of 500 draws, and the ratio to SciPy's least squares with a dense Jacobian; time of a scenario.

python benchmarks/outlook.py
"""

import time

import numpy as np
from scipy.optimize import least_squares

from cutline.facts import outlook
from cutline.outlook import irt, scenario, scenario_run


def seconds(work, times=1):
    """Best time of some runs. [s]"""
    found = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return min(found)


def main():
    """Print the three times and the ratio."""
    rows = outlook.scores("2026-08-11")
    names = [r.model for r in rows], [r.benchmark for r in rows]
    score = np.clip([r.score for r in rows], irt.EDGE, 1 - irt.EDGE)
    (models, m), (benchmarks, b) = (np.unique(n, return_inverse=True) for n in names)
    n_m, n_b, anchor = len(models), len(benchmarks), list(benchmarks).index(irt.ANCHOR)
    weight = np.sqrt(irt.PENALTY / (n_m + 2 * n_b - 1))
    free = np.arange(n_m + 2 * n_b) != n_m + n_b + anchor

    def parts(x):
        full = np.ones(free.size)
        full[free] = x
        slope, reach = full[n_m + n_b :][b], full[:n_m][m] - full[n_m : n_m + n_b][b]
        return slope, reach, 1 / (1 + np.exp(-slope * reach))

    def miss(x):
        return np.concatenate([parts(x)[2] - score, weight * x])

    def jacobian(x):
        slope, reach, p = parts(x)
        each, jac = np.arange(len(score)), np.zeros((len(score), free.size))
        jac[each, m], jac[each, n_m + b] = slope * p * (1 - p), -slope * p * (1 - p)
        jac[each, n_m + n_b + b] = reach * p * (1 - p)
        return np.vstack([jac[:, free], weight * np.eye(x.size)])

    start = np.concatenate([np.zeros(n_m + n_b), np.ones(n_b - 1)])
    bounds = np.concatenate([np.full(n_m + n_b, -10.0), np.full(n_b - 1, 0.1)]), np.full(start.size, 10.0)
    own = seconds(lambda: irt.fit(*names, score), 3)
    draws = seconds(lambda: irt.bootstrap(*names, score, draws=500))
    dense = seconds(lambda: least_squares(miss, start, jacobian, bounds))
    print(f"one fit {own:.3f} s, 500 draws {draws:.1f} s, SciPy with a dense Jacobian {dense:.1f} s")
    print(f"ratio {dense / own:.0f}")
    s = scenario.read("central")
    first = seconds(lambda: scenario_run.run(s, 100))
    many = seconds(lambda: scenario_run.run(s, 100_000))
    print(f"scenario: first run {first:.1f} s with plans and law, then 100,000 draws {many:.1f} s")


if __name__ == "__main__":
    main()
