"""Flower's own rules on given numbers, in Flower's environment: `python flower_rules.py INPUT.npz OUTPUT.npz`.

The input holds `base` (elements,), `deltas` (rounds, sites, elements), `weights` (sites,) and the settings; the output has for
each rule the models after every round, (rounds, elements). Every client's weights are the strategy's current ones and its delta,
in float64. Where Flower defines a rule otherwise than the papers do, it is given what makes the definitions meet:

- FedAdam corrects its rate for bias, as Kingma & Ba's Adam does (with an exponent one above the round's number); Reddi et al.'s
  Algorithm 2 has no correction. `eta` is divided by Flower's correction, so that it cancels.
- FedAdam and FedYogi start from v = 0; Reddi et al. start from v ≥ τ², and fedcli from τ². The strategies are given that v.
- Flower's server treats buffers as it treats weights; fedcli moves buffers by the mean alone. The numbers here are weights.
- Flower's trimmed mean takes a fraction, and leaves out the integer part of its product with the number of sites.
"""

import sys

import numpy as np
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server.strategy import FedAdam, FedAvgM, FedMedian, FedTrimmedAvg, FedYogi, Krum


def main() -> None:
    """Run every rule over all rounds."""
    given = np.load(sys.argv[1])
    base, deltas, weights = given["base"].astype(np.float64), given["deltas"], given["weights"]
    rate, momentum, beta1, beta2, tau = (float(given[name]) for name in ("rate", "momentum", "beta1", "beta2", "tau"))
    trim, byzantine, keep = (int(given[name]) for name in ("trim", "byzantine", "keep"))
    initial = ndarrays_to_parameters([base])
    adaptive = {"initial_parameters": initial, "eta": rate, "beta_1": beta1, "beta_2": beta2, "tau": tau}
    strategies = {
        "momentum": FedAvgM(initial_parameters=initial, server_learning_rate=rate, server_momentum=momentum),
        "adam": FedAdam(**adaptive),
        "yogi": FedYogi(**adaptive),
        "median": FedMedian(),
        "trimmed-mean": FedTrimmedAvg(beta=(trim + 0.5) / len(weights)),
        "krum": Krum(num_malicious_clients=byzantine, num_clients_to_keep=0),
        "multi-krum": Krum(num_malicious_clients=byzantine, num_clients_to_keep=keep),
    }
    for name in ("adam", "yogi"):
        strategies[name].v_t = [np.full_like(base, tau**2)]
    found = {}
    for name, strategy in strategies.items():
        models = [base]
        for number, of_round in enumerate(deltas, 1):
            if name == "adam":
                correction = np.sqrt(1 - beta2 ** (number + 1)) / (1 - beta1 ** (number + 1))
                strategy.eta = rate / correction
            results = [
                (None, FitRes(Status(Code.OK, ""), ndarrays_to_parameters([models[-1] + delta]), int(weight), {}))
                for delta, weight in zip(of_round, weights, strict=True)
            ]
            parameters, _ = strategy.aggregate_fit(number, results, [])
            models.extend(parameters_to_ndarrays(parameters))
        found[name] = np.stack(models[1:])
    np.savez(sys.argv[2], **found)


if __name__ == "__main__":
    main()
